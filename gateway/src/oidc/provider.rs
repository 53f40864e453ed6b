//! The provider, by discovery: where it is asked, and which keys it signs with.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use openidconnect::{
    AccessToken, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EmptyAdditionalClaims,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError, SubjectIdentifier, TokenResponse, UserInfoClaims,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreGenderClaim, CoreIdToken, CoreIdTokenClaims, CoreJwsSigningAlgorithm,
        CoreProviderMetadata,
    },
};
use url::Url;
use vdi_api::Email;

use super::{Attempt, HttpClient, address::is_trusted_url};

/// This gateway, as the provider knows it.
#[derive(Clone, Debug)]
pub struct Client {
    pub issuer: IssuerUrl,
    pub id: String,
    /// Where its secret is, unless it is a public client.
    pub secret: Option<PathBuf>,
    /// Where the provider sends browsers back to.
    pub redirect: RedirectUrl,
}

pub struct Provider {
    client: Client,
    http: HttpClient,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    metadata: CoreProviderMetadata,
    asked: Instant,
    /// When it was last asked before its time, for the lack of a key.
    missed: Option<Instant>,
}

/// What a client is made by.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// What is known, unless it is old.
    Known,
    /// What the provider says now, as a key of its is not known.
    Asking,
}

/// Who has signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The provider's own name for them, which never changes.
    pub subject: String,
    pub email: Email,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("the provider can't be asked: {0}")]
    Provider(String),
    #[error("the provider names {0}, which is neither https nor on this machine")]
    NotTrusted(Url),
    #[error("the client's secret can't be read: {0}")]
    Secret(std::io::Error),
    #[error("the provider doesn't take the code: {0}")]
    Code(String),
    #[error("the provider gave no ID token")]
    NoIdToken,
    #[error("the ID token is not good: {}", chain(.0))]
    IdToken(#[from] ClaimsVerificationError),
    #[error("the account has no e-mail address that the provider has verified")]
    NoVerifiedEmail,
}

/// What a provider says about itself is good for so long.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// It is not asked before its time more often than this, whatever tokens somebody makes up.
const PAUSE: Duration = Duration::from_secs(10);

/// How many seconds a provider's clock may be ahead of this one.
const AHEAD: i64 = 5 * 60;

/// Signatures that only the provider can make. Those of the family HS256 are made with the client's secret.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

type Discovered =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

impl Provider {
    pub fn new(client: Client, http: HttpClient) -> Self {
        Self { client, http, known: Mutex::default() }
    }

    /// Where to send a browser that is to sign in, and wants to go somewhere afterwards.
    pub async fn address(&self, attempt: &Attempt, wanted: &str) -> Result<String, SignInError> {
        let (state, nonce) = (attempt.state(wanted), attempt.nonce());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(attempt.verifier()));
        let client = self.discovered(By::Known).await?;
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client.authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce));
        let (url, ..) = request.add_scope(Scope::new("email".to_owned())).set_pkce_challenge(challenge).url();
        Ok(url.into())
    }

    /// Who has come back with this code.
    pub async fn account(&self, attempt: &Attempt, code: &str) -> Result<Account, SignInError> {
        let client = self.discovered(By::Known).await?;
        let request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
        let request = request.map_err(|error| SignInError::Provider(error.to_string()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier()));
        let answer = request.request_async(&self.http).await;
        let answer = answer.map_err(|error| SignInError::Code(chain(&error)))?;
        let token = answer.id_token().ok_or(SignInError::NoIdToken)?;
        let nonce = Nonce::new(attempt.nonce());
        let claims = match verified(&client, token, &nonce) {
            // Its keys may have been replaced since it was last asked.
            Err(error) if is_for_lack_of_a_key(&error) => verified(&self.discovered(By::Asking).await?, token, &nonce)?,
            claims => claims?,
        };
        let (email, is_verified) = match claims.email() {
            Some(email) => (Some(email.to_string()), claims.email_verified()),
            // By the core specification, claims of a scope may be left to be asked for.
            None => self.email(&client, answer.access_token(), claims.subject()).await?,
        };
        let email = email.filter(|_| is_verified == Some(true)).and_then(|email| email.parse().ok());
        Ok(Account { subject: claims.subject().to_string(), email: email.ok_or(SignInError::NoVerifiedEmail)? })
    }

    async fn email(
        &self,
        client: &Discovered,
        token: &AccessToken,
        subject: &SubjectIdentifier,
    ) -> Result<(Option<String>, Option<bool>), SignInError> {
        let Ok(request) = client.user_info(token.clone(), Some(subject.clone())) else { return Ok((None, None)) };
        let answer = request.request_async(&self.http).await;
        let info: UserInfoClaims<EmptyAdditionalClaims, CoreGenderClaim> =
            answer.map_err(|error| SignInError::Provider(chain(&error)))?;
        Ok((info.email().map(|email| email.to_string()), info.email_verified()))
    }

    async fn discovered(&self, by: By) -> Result<Discovered, SignInError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missed = known.as_ref().and_then(|known| known.missed);
        let asks = by == By::Asking && missed.is_none_or(|missed| missed.elapsed() > PAUSE);
        let metadata = match known.filter(|known| !asks && known.asked.elapsed() < FRESH) {
            Some(known) => known.metadata,
            None => {
                let asked = Instant::now();
                let metadata = CoreProviderMetadata::discover_async(self.client.issuer.clone(), &self.http).await;
                let metadata = metadata.map_err(|error| SignInError::Provider(chain(&error)))?;
                trusted(&metadata)?;
                let missed = if asks { Some(asked) } else { missed };
                let known = Known { metadata: metadata.clone(), asked, missed };
                *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
                metadata
            }
        };
        let secret = match &self.client.secret {
            // Each time, as it may have been replaced.
            Some(path) => Some(tokio::fs::read_to_string(path).await.map_err(SignInError::Secret)?),
            None => None,
        };
        let secret = secret.map(|secret| ClientSecret::new(secret.trim().to_owned()));
        let client = CoreClient::from_provider_metadata(metadata, ClientId::new(self.client.id.clone()), secret);
        Ok(client.set_redirect_uri(self.client.redirect.clone()))
    }
}

fn verified<'a>(
    client: &Discovered,
    token: &'a CoreIdToken,
    nonce: &Nonce,
) -> Result<&'a CoreIdTokenClaims, ClaimsVerificationError> {
    let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    let verifier = verifier.set_issue_time_verifier_fn(|issued| is_issued(issued.timestamp()));
    token.claims(&verifier, nonce)
}

fn is_issued(at: i64) -> Result<(), String> {
    match at <= Timestamp::now().as_second() + AHEAD {
        true => Ok(()),
        false => Err(format!("it is issued at {at}, which is yet to come")),
    }
}

/// Before anybody is sent there. The address of its keys has been asked by now, so it is trusted.
fn trusted(metadata: &CoreProviderMetadata) -> Result<(), SignInError> {
    let token = metadata.token_endpoint().map(|endpoint| endpoint.url());
    let user_info = metadata.userinfo_endpoint().map(|endpoint| endpoint.url());
    let mut named = [Some(metadata.authorization_endpoint().url()), token, user_info].into_iter().flatten();
    named.find(|url| !is_trusted_url(url)).map_or(Ok(()), |url| Err(SignInError::NotTrusted(url.clone())))
}

fn is_for_lack_of_a_key(error: &ClaimsVerificationError) -> bool {
    use ClaimsVerificationError::SignatureVerification;
    use SignatureVerificationError::{CryptoError, NoMatchingKey};
    matches!(error, SignatureVerification(NoMatchingKey | CryptoError(_)))
}

/// An error and what is behind it, which this crate's own words leave out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
