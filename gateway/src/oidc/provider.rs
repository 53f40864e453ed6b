//! The provider: its endpoints and keys, by discovery, and whose account it vouches for.

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use openidconnect::{
    AccessToken, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IdToken, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, SignatureVerificationError,
    StandardErrorResponse, StandardTokenResponse, SubjectIdentifier, TokenResponse, UserInfoClaims,
    core::{
        CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
        CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata,
        CoreRevocableToken, CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
    },
};
use url::Url;
use vdi_api::Email;
use vdi_service::{Need, files};

use super::{
    address::is_trusted_url,
    attempt::Attempt,
    http::{CertificateError, HttpClient},
    verified::FurtherClaims,
};

/// This gateway, as the provider knows it.
#[derive(Clone, Debug)]
pub struct Client {
    pub issuer: IssuerUrl,
    pub id: String,
    /// The file with its secret, unless it is a public client.
    pub secret: Option<PathBuf>,
    /// Where the provider sends browsers afterwards.
    pub redirect: RedirectUrl,
    /// The claim that says that an account's e-mail address is verified.
    pub email_verified_claim: String,
}

pub struct Provider {
    client: Client,
    /// The file with the authority of its certificate, if the system does not trust it.
    authority: Option<PathBuf>,
    /// Once that file could be read.
    http: OnceLock<HttpClient>,
    discovery: Mutex<Option<Discovery>>,
}

/// What the provider publishes about itself.
#[derive(Clone)]
struct Discovery {
    metadata: CoreProviderMetadata,
    fetched: Instant,
    /// When it was last fetched early, because a key was missing.
    refreshed: Option<Instant>,
}

/// Which discovery document to use.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// The cached one, unless it is old.
    Cached,
    /// A new one, because a key is missing.
    New,
}

/// The person who has signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// The provider's identifier for them, which never changes.
    pub subject: String,
    pub email: Email,
}

#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error("the provider can't be reached: {0}")]
    Provider(String),
    #[error("the provider names {0}, which is neither https nor on this machine")]
    NotTrusted(Url),
    #[error(transparent)]
    Authority(#[from] CertificateError),
    #[error("{}", files::problem(.0, .1))]
    Secret(PathBuf, std::io::Error),
    #[error("{0} is empty; it must contain the client secret")]
    NoSecret(PathBuf),
    #[error("the provider refused the code: {0}")]
    Code(String),
    #[error("the provider sent no ID token")]
    NoIdToken,
    #[error("invalid ID token: {}", chain(.0))]
    IdToken(#[from] ClaimsVerificationError),
    #[error("the account has no e-mail address that the provider has verified: no claim {0} says so")]
    NoVerifiedEmail(String),
}

/// How long a discovery document is used.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// The shortest time between two early fetches, whatever tokens somebody makes up.
const PAUSE: Duration = Duration::from_secs(10);
/// How often missing files are looked for.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How many seconds a provider's clock may be ahead of this one.
const AHEAD: i64 = 5 * 60;

/// Algorithms whose signatures only the provider can make. Those like HS256 use the client's secret.
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

type Token = IdToken<FurtherClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type TokenFields = IdTokenFields<
    FurtherClaims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
/// The library's client for the core specification, with further claims.
type Discovered = openidconnect::Client<
    FurtherClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<TokenFields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

impl Provider {
    pub fn new(client: Client, authority: Option<PathBuf>) -> Self {
        Self { client, authority, http: OnceLock::new(), discovery: Mutex::default() }
    }

    /// Waits until its files can be read.
    pub async fn wait_for_files(&self, need: &Need) {
        while let Err(error) = self.check_files().await {
            need.lacks(&error.to_string());
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        need.is_met();
    }

    async fn check_files(&self) -> Result<(), SignInError> {
        self.http()?;
        self.secret().await.map(drop)
    }

    fn http(&self) -> Result<&HttpClient, CertificateError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = HttpClient::new(self.authority.as_deref())?;
        Ok(self.http.get_or_init(|| http))
    }

    /// The client secret, read each time, because it may have been replaced.
    async fn secret(&self) -> Result<Option<ClientSecret>, SignInError> {
        let Some(path) = &self.client.secret else { return Ok(None) };
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|error| SignInError::Secret(path.clone(), error))?;
        match text.trim() {
            "" => Err(SignInError::NoSecret(path.clone())),
            secret => Ok(Some(ClientSecret::new(secret.to_owned()))),
        }
    }

    /// Where to send a browser to sign in, before it goes on to `destination`.
    pub async fn address(&self, attempt: &Attempt, destination: &str) -> Result<String, SignInError> {
        let (state, nonce) = (attempt.state(destination), attempt.nonce());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(attempt.verifier()));
        let client = self.discovered(Use::Cached).await?;
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client.authorize_url(flow, || CsrfToken::new(state), || Nonce::new(nonce));
        let (url, ..) = request.add_scope(Scope::new("email".to_owned())).set_pkce_challenge(challenge).url();
        Ok(url.into())
    }

    /// The account for which the provider issued this code.
    pub async fn account(&self, attempt: &Attempt, code: &str) -> Result<Account, SignInError> {
        let client = self.discovered(Use::Cached).await?;
        let request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
        let request = request.map_err(|error| SignInError::Provider(error.to_string()))?;
        let request = request.set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier()));
        let answer = request.request_async(self.http()?).await;
        let answer = answer.map_err(|error| SignInError::Code(chain(&error)))?;
        let token = answer.id_token().ok_or(SignInError::NoIdToken)?;
        let nonce = Nonce::new(attempt.nonce());
        let claims = match verified(&client, token, &nonce) {
            // The provider may have replaced its keys since they were fetched.
            Err(error) if is_missing_key(&error) => verified(&self.discovered(Use::New).await?, token, &nonce)?,
            claims => claims?,
        };
        let claim = &self.client.email_verified_claim;
        let email = claims.email().map(|email| email.to_string());
        let (email, is_verified) = match claims.additional_claims().verify(claim, claims.email_verified()) {
            Some(is_verified) if email.is_some() => (email, is_verified),
            // By the core specification, the claims of a scope may be at the userinfo endpoint alone. Okta has the address in both.
            _ => self.email(&client, answer.access_token(), claims.subject(), email).await?,
        };
        let email = email.filter(|_| is_verified).and_then(|email| email.parse().ok());
        let email = email.ok_or_else(|| SignInError::NoVerifiedEmail(claim.clone()))?;
        Ok(Account { subject: claims.subject().to_string(), email })
    }

    /// The address at the userinfo endpoint, which must be the known one, and whether it is verified.
    async fn email(
        &self,
        client: &Discovered,
        token: &AccessToken,
        subject: &SubjectIdentifier,
        known: Option<String>,
    ) -> Result<(Option<String>, bool), SignInError> {
        let Ok(request) = client.user_info(token.clone(), Some(subject.clone())) else { return Ok((None, false)) };
        let answer = request.request_async(self.http()?).await;
        let info: UserInfoClaims<FurtherClaims, CoreGenderClaim> =
            answer.map_err(|error| SignInError::Provider(chain(&error)))?;
        let email = info.email().map(|email| email.to_string());
        let is_verified = info.additional_claims().verify(&self.client.email_verified_claim, info.email_verified());
        let is_known = known.is_none() || known == email;
        Ok((email, is_known && is_verified == Some(true)))
    }

    async fn discovered(&self, which: Use) -> Result<Discovered, SignInError> {
        let cached = self.discovery.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let refreshed = cached.as_ref().and_then(|cached| cached.refreshed);
        let refreshes = which == Use::New && refreshed.is_none_or(|refreshed| refreshed.elapsed() > PAUSE);
        let metadata = match cached.filter(|cached| !refreshes && cached.fetched.elapsed() < FRESH) {
            Some(cached) => cached.metadata,
            None => {
                let fetched = Instant::now();
                let metadata = CoreProviderMetadata::discover_async(self.client.issuer.clone(), self.http()?).await;
                let metadata = metadata.map_err(|error| SignInError::Provider(chain(&error)))?;
                trusted(&metadata)?;
                let refreshed = if refreshes { Some(fetched) } else { refreshed };
                let discovery = Discovery { metadata: metadata.clone(), fetched, refreshed };
                *self.discovery.lock().unwrap_or_else(PoisonError::into_inner) = Some(discovery);
                metadata
            }
        };
        let (id, secret) = (ClientId::new(self.client.id.clone()), self.secret().await?);
        let client = openidconnect::Client::from_provider_metadata(metadata, id, secret);
        Ok(client.set_redirect_uri(self.client.redirect.clone()))
    }
}

fn verified<'a>(
    client: &Discovered,
    token: &'a Token,
    nonce: &Nonce,
) -> Result<&'a IdTokenClaims<FurtherClaims, CoreGenderClaim>, ClaimsVerificationError> {
    let verifier = client.id_token_verifier().set_allowed_algs(ALGORITHMS);
    let verifier = verifier.set_issue_time_verifier_fn(|issued| is_issued(issued.timestamp()));
    token.claims(&verifier, nonce)
}

fn is_issued(at: i64) -> Result<(), String> {
    match at <= Timestamp::now().as_second() + AHEAD {
        true => Ok(()),
        false => Err(format!("it was issued at {at}, which is yet to come")),
    }
}

/// Checked before anybody is sent there. The address of the keys has been called by now, so it is trusted.
fn trusted(metadata: &CoreProviderMetadata) -> Result<(), SignInError> {
    let token = metadata.token_endpoint().map(|endpoint| endpoint.url());
    let user_info = metadata.userinfo_endpoint().map(|endpoint| endpoint.url());
    let mut named = [Some(metadata.authorization_endpoint().url()), token, user_info].into_iter().flatten();
    named.find(|url| !is_trusted_url(url)).map_or(Ok(()), |url| Err(SignInError::NotTrusted(url.clone())))
}

fn is_missing_key(error: &ClaimsVerificationError) -> bool {
    use ClaimsVerificationError::SignatureVerification;
    use SignatureVerificationError::{CryptoError, NoMatchingKey};
    matches!(error, SignatureVerification(NoMatchingKey | CryptoError(_)))
}

/// An error and its causes, which the messages of `openidconnect` leave out.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
