// The client of the TypeScript SDK, which checks answers against our schemas.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, calls] = [process.argv[2], JSON.parse(process.argv[3])];
const client = new Client({ name: "typescript", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const errors = {};
for (const [name, args] of Object.entries(calls)) {
  errors[name] = Boolean((await client.callTool({ name, arguments: args })).isError);
}
await client.close();
console.log(JSON.stringify({ tools, errors }));
