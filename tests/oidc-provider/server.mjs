// A real OpenID provider (certified, from npm) for the tests and for `cargo xtask demo --oidc`. Whoever types an address into its
// login form has it, with any password: it is for loopback alone.
//
// Environment: PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET.
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const { PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET } = process.env;
// Another key each time that it is started: so are its keys rotated.
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    id_token_signed_response_alg: 'ES256',
  }],
  claims: { email: ['email', 'email_verified'] },
  jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256' }] },
  cookies: { keys: ['for tests alone'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id.replace(/^unverified\+/, ''), email_verified: !id.startsWith('unverified+') }),
  }),
});
provider.listen(Number(PORT), '127.0.0.1', () => console.log('listening'));
