// A real OpenID provider (npm's oidc-provider) on loopback, for the tests: `node provider.mjs '{"port": ...}'`.
// Whoever logs in with a name is that subject; `groups` says who is in which.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const options = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(`${options.modules}/`));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const provider = new Provider(options.issuer, {
  clients: options.clients,
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email"] },
  conformIdTokenClaims: options.claims_in_userinfo,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  findAccount: async (_, sub) => ({
    accountId: sub,
    claims: async () => ({ sub, preferred_username: sub, groups: options.groups[sub] ?? [] }),
  }),
});
provider.listen(options.port, "127.0.0.1", () => console.log("listening"));
