//! What can be tried with HTTP/2 that can't be with HTTP/1.1, and what comes of it.

use std::{
    iter,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use vdi_tests::{
    gateway::{DOMAIN, Gateway},
    objects::create,
    stack::{alice, bob},
    test_namespace::TestNamespace,
    visitor::Visitor,
};

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Flood, Frames, HEADERS, LARGEST, Outcome, PING, PRIORITY, RESET,
        SETTINGS, WINDOW_UPDATE, block, frame, literal,
    },
    of,
    recorder::Recorder,
    with_site,
};

/// [RFC 9113, 7](https://www.rfc-editor.org/rfc/rfc9113#section-7)
const PROTOCOL_ERROR: u32 = 1;

/// A whole request of its own, wherever somebody takes the bytes before it for all of the first.
const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The beginning of a request. Each of `instead` stands for what there is of its name.
fn head<'a>(
    authority: &'a str,
    cookies: &'a str,
    instead: &[(&'a str, Option<&'a str>)],
    besides: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let all = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", "/asked"),
        ("cookie", cookies),
        ("origin", ""),
    ];
    let replace = |(name, value): (&'a str, &'a str)| match instead.iter().find(|(other, _)| *other == name) {
        Some((_, other)) => other.map(|other| (name, other)),
        None => Some((name, value)),
    };
    all.into_iter().filter_map(replace).chain(besides.iter().copied()).collect()
}

#[test]
fn a_request_of_http2_never_becomes_two_nor_one_that_can_be_read_in_two_ways() -> Result<()> {
    with_site(async |site| {
        let (recorder, port) = Recorder::start().await?;
        let namespace = TestNamespace::new(&site.stack, "downgraded").await?;
        namespace.template(json!({ "port": port })).await?;
        namespace.session("desktop").await?;
        namespace.wait_running("desktop").await?;
        let (visitor, host) =
            Visitor::at_desktop(&[&site.first], &site.stack, &alice(), "downgraded", "desktop").await?;
        let (authority, cookies) = (site.first.authority(&host), visitor.cookies(&host).unwrap_or_default());
        let origin = format!("https://{authority}");
        let ask = async |instead: &[(&str, Option<&str>)], besides: &[(&str, &str)]| {
            let mut instead = instead.to_vec();
            if !instead.iter().any(|(name, _)| *name == "origin") {
                instead.push(("origin", Some(&origin)));
            }
            let mut frames = Frames::open(&site.first, &host, &[]).await?;
            let block = block(&head(&authority, &cookies, &instead, besides));
            frames.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
            frames.send(&frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes())).await;
            frames.outcome(1).await
        };

        let asked = Outcome::Answer { status: 200, body: "a desktop was asked".to_owned() };
        let length = SMUGGLED.len().to_string();
        for besides in [&[][..], &[("content-length", &*length)], &[("te", "trailers")]] {
            let outcome = ask(&[], besides).await?;
            ensure!(outcome == asked, "what is tried below would be in vain: {besides:?}: {outcome:?}");
        }

        let line = "/asked HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled";
        let two_lines = format!("{authority}\r\nx-injected: 1");
        let other = format!("bob.{DOMAIN}");
        let padded = format!(" {length}");
        let signed = format!("+{length}");
        let listed = format!("{length}, {length}");
        let besides: &[&[(&str, &str)]] = &[
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("content-length", &length)],
            &[("transfer-encoding", "xchunked")],
            &[("connection", "close")],
            &[("connection", "content-length"), ("content-length", &length)],
            &[("connection", "transfer-encoding")],
            &[("keep-alive", "1")],
            &[("proxy-connection", "keep-alive")],
            &[("upgrade", "websocket")],
            &[("te", "chunked")],
            &[("content-length", "5")],
            &[("content-length", "0")],
            &[("content-length", "5000")],
            &[("content-length", "-1")],
            &[("content-length", "99999999999999999999999999")],
            &[("content-length", "a")],
            &[("content-length", "")],
            &[("content-length", &padded)],
            &[("content-length", &signed)],
            &[("content-length", &listed)],
            &[("content-length", &length), ("content-length", "5")],
            &[("content-length", "5"), ("content-length", &length)],
            &[("x-a", "a\r\nx-injected: 1")],
            &[("x-a", "a\nx-injected: 1")],
            &[("x-a", "a\rx-injected: 1")],
            &[("x-a", "a\0b")],
            &[("x-a", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")],
            &[("X-Upper", "a")],
            &[("Transfer-Encoding", "chunked")],
            &[("x:injected", "a")],
            &[("x injected", "a")],
            &[("transfer-encoding ", "chunked")],
            &[(" transfer-encoding", "chunked")],
            &[("transfer-encoding\0", "chunked")],
            &[("x-a\r\nx-injected", "1")],
            &[("x-a: 1\r\nx-injected", "1")],
            &[("", "a")],
            &[(":authority", &authority)],
            &[(":path", "/smuggled")],
            &[(":status", "200")],
            &[(":unknown", "a")],
            &[("host", &other)],
            &[("host", &authority), ("host", &authority)],
            &[("host", &two_lines)],
        ];
        for besides in besides {
            let outcome = ask(&[], besides).await.with_context(|| format!("{besides:?}"))?;
            ensure!(outcome.is_refused(), "{besides:?}: {outcome:?}");
        }
        let instead: &[&[(&str, Option<&str>)]] = &[
            &[(":path", Some(line))],
            &[(":path", Some("/asked /smuggled"))],
            &[(":path", Some("/asked\tHTTP/1.1"))],
            &[(":path", Some("/asked\0"))],
            &[(":path", Some("\r\n/asked"))],
            &[(":path", Some("asked"))],
            &[(":path", Some(""))],
            &[(":path", None)],
            &[(":method", Some("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET"))],
            &[(":method", Some("GET /smuggled"))],
            &[(":method", Some("GET\r\n"))],
            &[(":method", Some(""))],
            &[(":method", None)],
            &[(":authority", Some(&two_lines))],
            &[(":authority", Some("a b"))],
            &[(":authority", Some(""))],
            &[(":authority", Some(&other))],
            &[(":authority", None)],
            &[(":scheme", Some("https://evil.com/?"))],
            &[(":scheme", Some("https\r\nx-injected: 1"))],
            &[(":scheme", None)],
            &[("cookie", Some("a=b\r\nx-injected: 1"))],
        ];
        for instead in instead {
            let outcome = ask(instead, &[]).await.with_context(|| format!("{instead:?}"))?;
            ensure!(outcome.is_refused(), "{instead:?}: {outcome:?}");
        }

        for asked in recorder.asked() {
            ensure!(["GET / HTTP/1.1", "POST /asked HTTP/1.1"].contains(&&*asked.line), "{asked:?}");
            ensure!(!asked.has("x-injected"), "{asked:?}");
            ensure!(!(asked.has("transfer-encoding") && asked.has("content-length")), "{asked:?}");
        }
        Ok(())
    })
}

#[test]
fn a_tunnel_is_opened_over_http2_to_nobody() -> Result<()> {
    with_site(async |site| {
        site.running("tunnel").await?;
        let (visitor, host) = Visitor::at_desktop(&[&site.first], &site.stack, &alice(), "tunnel", "desktop").await?;
        let (authority, cookies) = (site.first.authority(&host), visitor.cookies(&host).unwrap_or_default());
        let origin = format!("https://{authority}");
        let cookies = [("cookie", &*cookies), ("origin", &origin)];
        let plain = |authority| vec![(":method", "CONNECT"), (":authority", authority)];
        // https://www.rfc-editor.org/rfc/rfc8441
        let extended = |protocol| {
            let method = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "https")];
            [&method[..], &[(":path", "/websockify"), (":authority", &authority)]].concat()
        };
        let get = [(":method", "GET"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/websockify")];
        let get = [&get[..], &[(":authority", &authority)]].concat();
        for head in [plain("127.0.0.1:22"), plain(&authority), extended("websocket"), extended("connect-udp"), get] {
            let mut frames = Frames::open(&site.first, &host, &[]).await?;
            let block = block(&[&head[..], &cookies].concat());
            frames.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
            let outcome = frames.outcome(1).await.with_context(|| format!("{head:?}"))?;
            ensure!(outcome.is_refused(), "{head:?}: {outcome:?}");
        }
        Ok(())
    })
}

/// In MiB, and of the gateway as a debug build: what its allocator keeps is among it.
async fn memory(gateway: &mut Gateway) -> Result<f64> {
    let status = tokio::fs::read_to_string(format!("/proc/{}/status", gateway.replica.process().await?)).await?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

fn get<'a>(authority: &'a str, besides: &[(&'a str, &'a str)]) -> Vec<u8> {
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/")];
    block(&[&get[..], besides].concat())
}

#[test]
fn headers_without_end_are_refused_and_cost_little_memory() -> Result<()> {
    with_site(async |site| {
        let mut gateway = site.gateway("gateway-bombed", vdi_cluster::free_port()?, &[]).await?;
        let authority = gateway.authority(DOMAIN);
        let answered = Visitor::default().get(&gateway, DOMAIN, "/").await?.status == 200;
        ensure!(answered, "it has done everything once");
        let before = memory(&mut gateway).await?;

        // None is read for so long.
        let long = Duration::from_secs(10);
        let full = literal(0, "x-a", &"a".repeat(LARGEST - 100));
        let one = literal(0, "x-a", "a");
        // Each byte stands for a header of 4000.
        let kept = literal(0x40, "x-a", &"a".repeat(4000));
        let (start, bomb) = (get(&authority, &[]), vec![0xbe; LARGEST]);
        let indexed = [&*start, &kept, &bomb[..8000]].concat();
        let floods: [(&str, &[u8], &[u8]); 4] = [
            ("headers that are large", &start, &full),
            ("headers that are small", &start, &one),
            ("frames with nothing in them", &start, &[]),
            ("one header again and again", &indexed, &bomb),
        ];
        for (what, first, next) in floods {
            let next = frame(CONTINUATION, 0, 1, next);
            let mut frames = Frames::open(&gateway, DOMAIN, &[]).await?;
            let all = iter::once(frame(HEADERS, END_STREAM, 1, first)).chain(iter::repeat(next));
            let began = Instant::now();
            let flood = frames.flood(long, true, all).await;
            println!("{what}: {flood:?} after {:?}", began.elapsed());
            // Not for what would be wrong with any of them.
            ensure!(matches!(flood, Flood::Closed(why) if why != Some(PROTOCOL_ERROR)), "{what}: {flood:?}");
        }
        let many = block(&vec![("x-a", "a"); 2000]);
        let heads = [
            ("one that is large, and no bomb", [&*start, &full, &full].concat(), false),
            ("one that is larger", [&*start, &full, &full, &full, &full, &full].concat(), true),
            ("one header again and again, and then an end", indexed.clone(), true),
            ("one with many", [&*start, &many].concat(), true),
        ];
        for (what, block, is_refused) in heads {
            let mut frames = Frames::open(&gateway, DOMAIN, &[]).await?;
            let mut pieces = block.chunks(LARGEST).enumerate().peekable();
            while let Some((n, piece)) = pieces.next() {
                let (kind, flags) = if n == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
                let flags = if pieces.peek().is_none() { flags | END_HEADERS } else { flags };
                frames.send(&frame(kind, flags, 1, piece)).await;
            }
            let outcome = frames.outcome(1).await.context(what)?;
            ensure!(outcome.is_refused() == is_refused, "{what}: {outcome:?}");
        }
        let grown = memory(&mut gateway).await? - before;
        println!("grown by {grown:.1} MiB");
        ensure!(grown < 16.0, "grown by {grown:.1} MiB");
        Ok(())
    })
}

#[test]
fn a_flood_of_frames_takes_neither_memory_nor_the_gateway_from_others() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("flooded").await?;
        let mut bobs = of("bob@example.com", "flooded");
        bobs.metadata.name = Some("bobs".to_owned());
        create(&namespace.sessions, &bobs).await?;
        namespace.wait_running("bobs").await?;
        let mut gateway = site.gateway("gateway-flooded", vdi_cluster::free_port()?, &[]).await?;
        // Bob works, and somebody floods, with a request of alice's where it takes one that is passed on.
        let (visitor, host) = Visitor::at_desktop(&[&gateway], &site.stack, &alice(), "flooded", "desktop").await?;
        let (mut other, others_host) = Visitor::at_desktop(&[&gateway], &site.stack, &bob(), "flooded", "bobs").await?;
        let authority = gateway.authority(&host);
        let (cookies, origin) = (visitor.cookies(&host).unwrap_or_default(), format!("https://{authority}"));
        let post = block(&head(&authority, &cookies, &[("origin", Some(&origin))], &[]));
        // Of a stranger, as what a token costs is mostly how slow a debug build verifies it.
        let get = get(&authority, &[]);
        let streams = || (0u32..).map(|n| n * 2 + 1);
        let asked = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
        let long = Duration::from_millis(1500);

        let began = frame(HEADERS, END_HEADERS, 1, &post);
        let empty = || iter::once(began.clone()).chain(iter::repeat(frame(DATA, 0, 1, &[])));
        let reset = || streams().flat_map(|stream| [asked(stream), frame(RESET, 0, stream, &8u32.to_be_bytes())]);
        // A window that is too large makes the gateway reset the stream itself: https://kb.cert.org/vuls/id/767506
        let made =
            || streams().flat_map(|stream| [asked(stream), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])]);
        let open = || streams().map(asked);
        let settings = || iter::repeat(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]));
        let pings = || iter::repeat(frame(PING, 0, 0, &[1; 8]));
        let priorities = || streams().map(|stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]));
        let windows = || iter::once(began.clone()).chain(iter::repeat(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])));
        type Endless<'a> = Box<dyn Fn() -> Box<dyn Iterator<Item = Vec<u8>> + 'a> + 'a>;
        let floods: [(&str, Endless); 8] = [
            ("requests that are taken back", Box::new(|| Box::new(reset()))),
            ("requests that are made wrong", Box::new(|| Box::new(made()))),
            ("requests, more than may be open", Box::new(|| Box::new(open()))),
            ("settings", Box::new(|| Box::new(settings()))),
            ("pings", Box::new(|| Box::new(pings()))),
            ("data without data", Box::new(|| Box::new(empty()))),
            ("priorities", Box::new(|| Box::new(priorities()))),
            ("windows", Box::new(|| Box::new(windows()))),
        ];
        let normal = slowest(&mut other, &gateway, &others_host, || true).await?;
        let before = memory(&mut gateway).await?;
        for (what, flood) in &floods {
            for listens in [true, false] {
                let began = Instant::now();
                let floods = async {
                    let mut ends = Vec::new();
                    for _ in 0..2 {
                        let mut frames = Frames::open(&gateway, &host, &[]).await?;
                        ends.push(async move { frames.flood(long, listens, flood()).await });
                    }
                    anyhow::Ok(futures::future::join_all(ends).await)
                };
                let is_over = std::cell::Cell::new(false);
                let (ends, slowest) = tokio::join!(
                    async {
                        let ends = floods.await;
                        is_over.set(true);
                        ends
                    },
                    slowest(&mut other, &gateway, &others_host, || is_over.get()),
                );
                let (ends, slowest) = (ends?, slowest?);
                let grown = memory(&mut gateway).await? - before;
                println!(
                    "{what}, listening {listens}: {ends:?} in {:?}; others {slowest:?}, normally {normal:?}; {grown:.1} MiB",
                    began.elapsed()
                );
                // A machine that is busy with other tests takes its share.
                ensure!(slowest < normal + Duration::from_secs(2), "{what}: others were answered after {slowest:?}");
                ensure!(grown < 16.0, "{what}: grown by {grown:.1} MiB");
            }
        }
        Ok(())
    })
}

/// How long somebody waits for an answer at most, of twenty and until this is over.
async fn slowest(visitor: &mut Visitor, gateway: &Gateway, host: &str, is_over: impl Fn() -> bool) -> Result<Duration> {
    let (mut slowest, mut asked) = (Duration::ZERO, 0);
    while asked < 20 || !is_over() {
        let began = Instant::now();
        let answer = visitor.get(gateway, host, "/").await?;
        ensure!(answer.status == 200, "{answer:?}");
        slowest = slowest.max(began.elapsed());
        asked += 1;
    }
    Ok(slowest)
}
