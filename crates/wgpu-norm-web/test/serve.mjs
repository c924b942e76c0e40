// Serves folders under prefixes of the path, to browsers on this machine: for tests, and for the page in web/.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** `folders`: prefix to folder; `scripts`: path to text; `port`: 0 is any. Resolves to the address and a function that ends it. */
export async function serve(folders, scripts = {}, port = 0) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
    if (scripts[path]) return response.writeHead(200, { "content-type": "text/javascript" }).end(scripts[path]);
    // asked for by browsers themselves
    if (path === "/favicon.ico") return response.writeHead(204).end();
    const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const name = path.endsWith("/") ? "index.html" : "";
    const file = prefix && join(folders[prefix], normalize(path.slice(prefix.length)), name);
    if (!file || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  await new Promise((resolve, reject) => server.on("error", reject).listen(port, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
