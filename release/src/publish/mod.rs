//! A release: everything that has the version of the workspace, in a registry and in a folder.

mod chart;
mod contents;
mod cosign;
mod files;
mod notes;
mod pin;
mod provenance;
mod sbom;

use anyhow::Result;

pub use self::{
    chart::package as package_chart,
    contents::{Destination, Published, Release},
    cosign::Signer,
    notes::notes,
};
use self::{contents::Bill, cosign::Cosign, sbom::Documents};
use crate::{
    artifact::Artifact,
    image::{self, Program},
    policy,
    workspace::VERSION,
};

/// Publishes a release, and returns what is in the registry then. Doing it again changes nothing but signatures.
///
/// # Errors
/// When the version is there already with other contents, before anything is sent; when the registry refuses something; when cosign or
/// syft fail.
pub async fn publish(release: &Release, destination: &Destination) -> Result<Vec<Published>> {
    files::empty(&destination.folder)?;
    let chart = package_chart(&release.sources.join("deploy/chart/vdiwarden"), &release.digests()?)?;
    let published = describe(release, &chart, destination)?;
    for artifact in &published {
        artifact.ensure_new(destination).await?;
    }
    let config = &destination.docker_config;
    for (artifact, content) in published.iter().zip(&release.images) {
        eprintln!("Pushing {} ...", artifact.tagged);
        image::push(content, &artifact.tagged, config).await?;
    }
    let policy = policy::artifact::pack(&release.policy)?;
    for (artifact, content) in published.iter().skip(release.images.len()).zip([&policy, &chart]) {
        eprintln!("Pushing {} ...", artifact.tagged);
        content.push(&artifact.tagged, config).await?;
    }
    let cosign = destination.signer.as_ref();
    let cosign = cosign.map(|signer| Cosign::new(&destination.cosign, signer, config)).transpose()?;
    if let Some(cosign) = &cosign {
        let provenance = provenance::predicate(&release.sources, &release.origin)?;
        for artifact in &published {
            eprintln!("Signing {} ...", artifact.reference);
            artifact.sign(cosign, &provenance)?;
        }
    }
    files::write(release, &chart, &published, destination, cosign.as_ref())?;
    Ok(published)
}

/// Everything that will be published: the images, the policy and the chart.
fn describe(release: &Release, chart: &Artifact, destination: &Destination) -> Result<Vec<Published>> {
    let Release { sources, origin, .. } = release;
    let documents = Documents { syft: &destination.syft, sources, origin };
    let registry = destination.registry.trim_end_matches('/');
    let artifact = |repository: &str, tag: &str, digest: &str, bills: Vec<(String, String, Vec<u8>)>| {
        let at = |digest: &str| format!("{registry}/{repository}@{digest}");
        let bill = |(name, digest, document): (String, String, _)| Bill { name, reference: at(&digest), document };
        Published {
            tagged: format!("{registry}/{repository}:{tag}"),
            reference: at(digest),
            bills: bills.into_iter().map(bill).collect(),
        }
    };
    let mut published = Vec::new();
    for image in &release.images {
        let program = Program::ALL.into_iter().find(|program| program.name() == image.name);
        let mut bills = Vec::new();
        for (architecture, digest) in image.platforms()? {
            let name = format!("{}-{architecture}", image.name);
            let document = match program {
                Some(program) => documents.program(program.package(), architecture.rust_target(), &name)?,
                None => documents.image(&image.archive, architecture.name(), &name)?,
            };
            bills.push((name, digest, document));
        }
        published.push(artifact(&image.name, VERSION, &image.digest, bills));
    }
    let digest = policy::artifact::pack(&release.policy)?.digest();
    let bill = documents.program("vdisession-policy", policy::TARGET, "policy")?;
    let bills = vec![("policy".to_owned(), digest.clone(), bill)];
    published.push(artifact("policies/vdisession", &format!("v{VERSION}"), &digest, bills));
    let bill = documents.folder(&sources.join("deploy/chart/vdiwarden"), "chart")?;
    let digest = chart.digest();
    let bills = vec![("chart".to_owned(), digest.clone(), bill)];
    published.push(artifact("charts/vdiwarden", VERSION, &digest, bills));
    Ok(published)
}
