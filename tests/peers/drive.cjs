// The npm package google-drive-mock on a free port, which is the first line that it prints. Each
// line of its input is a method of the mock's store with its arguments, as a JSON array; the answer
// is what the method returned, as JSON.
const { createApp } = require("google-drive-mock");
const { driveStore } = require("google-drive-mock/dist/store");
const { createInterface } = require("node:readline");

const server = createApp().listen(0, "127.0.0.1", () => console.log(server.address().port));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [method, ...given] = JSON.parse(line);
    console.log(JSON.stringify(driveStore[method](...given) ?? null));
  })
  .on("close", () => process.exit());
