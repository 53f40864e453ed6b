// A real OpenID provider (certified, from npm) for the tests and for `cargo xtask demo --oidc`. Whoever types an address into its
// login form has it, with any password: it is for loopback alone.
//
// Environment: ISSUER, PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET; for TLS, TLS_CERT and TLS_KEY, files; ADDRESS, where it
// listens besides 127.0.0.1.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import Provider from 'oidc-provider';

const { ISSUER, PORT, REDIRECT_URI, CLIENT_ID, CLIENT_SECRET, TLS_CERT, TLS_KEY, ADDRESS } = process.env;
// Another key each time that it is started: so are its keys rotated.
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(ISSUER, {
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    id_token_signed_response_alg: 'ES256',
  }],
  claims: { email: ['email', 'email_verified', 'xms_edov'] },
  jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256' }] },
  cookies: { keys: ['for tests alone'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => {
      const [kind, email] = id.match(/^(?:(unverified|entra)\+)?(.*)$/).slice(1);
      // As Microsoft Entra ID says that it has verified an address.
      const verified = kind === 'entra' ? { xms_edov: '1' } : { email_verified: kind !== 'unverified' };
      return { sub: id, email, ...verified };
    },
  }),
});

const addresses = ['127.0.0.1', ADDRESS].filter(Boolean);
await Promise.all(addresses.map((address) => {
  const server = TLS_CERT
    ? createTlsServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) }, provider.callback())
    : createServer(provider.callback());
  return new Promise((resolve) => server.listen(Number(PORT), address, resolve));
}));
console.log('listening');
