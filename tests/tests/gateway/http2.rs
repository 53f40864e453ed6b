//! Attacks that only HTTP/2 makes possible.

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
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Flood, Frames, HEADERS, MAX_FRAME_SIZE, Outcome, PING, PRIORITY,
        RESET, SETTINGS, WINDOW_UPDATE, block, frame, literal,
    },
    recorder::Recorder,
    session_of, with_site,
};

/// [RFC 9113, 7](https://www.rfc-editor.org/rfc/rfc9113#section-7)
const PROTOCOL_ERROR: u32 = 1;

/// A body that contains a second request, for a server that misjudges where the first one ends.
const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// The header fields of a valid request. `overrides` replaces or removes fields by name, and `extra` is appended.
fn head<'a>(
    authority: &'a str,
    cookies: &'a str,
    overrides: &[(&'a str, Option<&'a str>)],
    extra: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let all = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", "/asked"),
        ("cookie", cookies),
        ("origin", ""),
    ];
    let replace = |(name, value): (&'a str, &'a str)| match overrides.iter().find(|(other, _)| *other == name) {
        Some((_, other)) => other.map(|other| (name, other)),
        None => Some((name, value)),
    };
    all.into_iter().filter_map(replace).chain(extra.iter().copied()).collect()
}

#[test]
fn an_http2_request_never_reaches_a_desktop_as_two_requests_or_as_an_ambiguous_one() -> Result<()> {
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
        let ask = async |overrides: &[(&str, Option<&str>)], extra: &[(&str, &str)]| {
            let mut overrides = overrides.to_vec();
            if !overrides.iter().any(|(name, _)| *name == "origin") {
                overrides.push(("origin", Some(&origin)));
            }
            let mut frames = Frames::open(&site.first, &host, &[]).await?;
            let block = block(&head(&authority, &cookies, &overrides, extra));
            frames.send(&frame(HEADERS, END_HEADERS, 1, &block)).await;
            frames.send(&frame(DATA, END_STREAM, 1, SMUGGLED.as_bytes())).await;
            frames.outcome(1).await
        };

        let accepted = Outcome::Answer { status: 200, body: "a desktop was asked".to_owned() };
        let length = SMUGGLED.len().to_string();
        for extra in [&[][..], &[("content-length", &*length)], &[("te", "trailers")]] {
            let outcome = ask(&[], extra).await?;
            ensure!(outcome == accepted, "a valid request was refused: {extra:?}: {outcome:?}");
        }

        let line = "/asked HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled";
        let two_lines = format!("{authority}\r\nx-injected: 1");
        let other = format!("bob.{DOMAIN}");
        let padded = format!(" {length}");
        let signed = format!("+{length}");
        let listed = format!("{length}, {length}");
        let extra: &[&[(&str, &str)]] = &[
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
        for extra in extra {
            let outcome = ask(&[], extra).await.with_context(|| format!("{extra:?}"))?;
            ensure!(outcome.is_refused(), "{extra:?}: {outcome:?}");
        }
        let overrides: &[&[(&str, Option<&str>)]] = &[
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
        for overrides in overrides {
            let outcome = ask(overrides, &[]).await.with_context(|| format!("{overrides:?}"))?;
            ensure!(outcome.is_refused(), "{overrides:?}: {outcome:?}");
        }

        for request in recorder.requests() {
            ensure!(["GET / HTTP/1.1", "POST /asked HTTP/1.1"].contains(&&*request.line), "{request:?}");
            ensure!(!request.has("x-injected"), "{request:?}");
            ensure!(!(request.has("transfer-encoding") && request.has("content-length")), "{request:?}");
        }
        Ok(())
    })
}

#[test]
fn no_tunnel_can_be_opened_over_http2() -> Result<()> {
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

/// The gateway's resident memory in MiB, including what its allocator keeps.
async fn memory(gateway: &mut Gateway) -> Result<f64> {
    let status = tokio::fs::read_to_string(format!("/proc/{}/status", gateway.replica.process().await?)).await?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}

fn get<'a>(authority: &'a str, extra: &[(&'a str, &'a str)]) -> Vec<u8> {
    let get = [(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/")];
    block(&[&get[..], extra].concat())
}

#[test]
fn endless_headers_are_refused_and_cost_little_memory() -> Result<()> {
    with_site(async |site| {
        let mut gateway = site.gateway("gateway-bombed", vdi_cluster::free_port()?, &[]).await?;
        let authority = gateway.authority(DOMAIN);
        // A first request, so that one-time allocations don't count.
        let answered = Visitor::default().get(&gateway, DOMAIN, "/").await?.status == 200;
        ensure!(answered, "the gateway doesn't serve its page");
        let before = memory(&mut gateway).await?;

        // Longer than the gateway reads any of these.
        let long = Duration::from_secs(10);
        let full = literal(0, "x-a", &"a".repeat(MAX_FRAME_SIZE - 100));
        let one = literal(0, "x-a", "a");
        // Each byte of the bomb stands for this header of 4000 bytes.
        let kept = literal(0x40, "x-a", &"a".repeat(4000));
        let (start, bomb) = (get(&authority, &[]), vec![0xbe; MAX_FRAME_SIZE]);
        let indexed = [&*start, &kept, &bomb[..8000]].concat();
        let floods: [(&str, &[u8], &[u8]); 4] = [
            ("large headers", &start, &full),
            ("small headers", &start, &one),
            ("empty frames", &start, &[]),
            ("one indexed header, repeated", &indexed, &bomb),
        ];
        for (what, first, next) in floods {
            let next = frame(CONTINUATION, 0, 1, next);
            let mut frames = Frames::open(&gateway, DOMAIN, &[]).await?;
            let all = iter::once(frame(HEADERS, END_STREAM, 1, first)).chain(iter::repeat(next));
            let began = Instant::now();
            let flood = frames.flood(long, true, all).await;
            println!("{what}: {flood:?} after {:?}", began.elapsed());
            // They are refused for their size, not as malformed.
            ensure!(matches!(flood, Flood::Closed(why) if why != Some(PROTOCOL_ERROR)), "{what}: {flood:?}");
        }
        let many = block(&vec![("x-a", "a"); 2000]);
        let heads = [
            ("large, within the limit", [&*start, &full, &full].concat(), false),
            ("larger than the limit", [&*start, &full, &full, &full, &full, &full].concat(), true),
            ("one indexed header, repeated, with an end", indexed.clone(), true),
            ("many headers", [&*start, &many].concat(), true),
        ];
        for (what, block, is_refused) in heads {
            let mut frames = Frames::open(&gateway, DOMAIN, &[]).await?;
            let mut pieces = block.chunks(MAX_FRAME_SIZE).enumerate().peekable();
            while let Some((n, piece)) = pieces.next() {
                let (kind, flags) = if n == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
                let flags = if pieces.peek().is_none() { flags | END_HEADERS } else { flags };
                frames.send(&frame(kind, flags, 1, piece)).await;
            }
            let outcome = frames.outcome(1).await.context(what)?;
            ensure!(outcome.is_refused() == is_refused, "{what}: {outcome:?}");
        }
        let grown = memory(&mut gateway).await? - before;
        println!("memory grew by {grown:.1} MiB");
        ensure!(grown < 16.0, "memory grew by {grown:.1} MiB");
        Ok(())
    })
}

#[test]
fn a_flood_of_frames_neither_exhausts_memory_nor_blocks_others() -> Result<()> {
    with_site(async |site| {
        let namespace = site.running("flooded").await?;
        let mut bobs = session_of("bob@example.com", "flooded");
        bobs.metadata.name = Some("bobs".to_owned());
        create(&namespace.sessions, &bobs).await?;
        namespace.wait_running("bobs").await?;
        let mut gateway = site.gateway("gateway-flooded", vdi_cluster::free_port()?, &[]).await?;
        // Bob works during each flood. Floods that need a request to a desktop use one of alice's.
        let (visitor, host) = Visitor::at_desktop(&[&gateway], &site.stack, &alice(), "flooded", "desktop").await?;
        let (mut other, others_host) = Visitor::at_desktop(&[&gateway], &site.stack, &bob(), "flooded", "bobs").await?;
        let authority = gateway.authority(&host);
        let (cookies, origin) = (visitor.cookies(&host).unwrap_or_default(), format!("https://{authority}"));
        let post = block(&head(&authority, &cookies, &[("origin", Some(&origin))], &[]));
        // Without a token, since a debug build is slow at verifying signatures.
        let get = get(&authority, &[]);
        let streams = || (0u32..).map(|n| n * 2 + 1);
        let request = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get);
        let long = Duration::from_millis(1500);

        let start = frame(HEADERS, END_HEADERS, 1, &post);
        let empty = || iter::once(start.clone()).chain(iter::repeat(frame(DATA, 0, 1, &[])));
        let reset = || streams().flat_map(|stream| [request(stream), frame(RESET, 0, stream, &8u32.to_be_bytes())]);
        // A window update that overflows makes the gateway reset the stream itself: https://kb.cert.org/vuls/id/767506
        let malformed = || {
            streams().flat_map(|stream| [request(stream), frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])])
        };
        let open = || streams().map(request);
        let settings = || iter::repeat(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]));
        let pings = || iter::repeat(frame(PING, 0, 0, &[1; 8]));
        let priorities = || streams().map(|stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1]));
        let windows = || iter::once(start.clone()).chain(iter::repeat(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])));
        type Endless<'a> = Box<dyn Fn() -> Box<dyn Iterator<Item = Vec<u8>> + 'a> + 'a>;
        let floods: [(&str, Endless); 8] = [
            ("requests that the client resets", Box::new(|| Box::new(reset()))),
            ("malformed requests, which the gateway resets", Box::new(|| Box::new(malformed()))),
            ("more open requests than allowed", Box::new(|| Box::new(open()))),
            ("settings", Box::new(|| Box::new(settings()))),
            ("pings", Box::new(|| Box::new(pings()))),
            ("empty DATA frames", Box::new(|| Box::new(empty()))),
            ("priorities", Box::new(|| Box::new(priorities()))),
            ("window updates", Box::new(|| Box::new(windows()))),
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
                // Leaves time for other tests on the same machine.
                ensure!(slowest < normal + Duration::from_secs(2), "{what}: others were answered after {slowest:?}");
                ensure!(grown < 16.0, "{what}: memory grew by {grown:.1} MiB");
            }
        }
        Ok(())
    })
}

/// The longest response time, over at least twenty requests and until `is_over`.
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
