// Serves the page that scripts/web has built: node web/serve.mjs [PORT]. Ends with Ctrl-C.
import { serve } from "../crates/wgpu-norm-web/test/serve.mjs";

const folder = new URL("dist", import.meta.url).pathname;
const { address } = await serve({ "/": folder }, {}, Number(process.argv[2] ?? 0));
console.log(`${address.replace("127.0.0.1", "localhost")}/`);
