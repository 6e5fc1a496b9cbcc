// Answers questions to the packed runs outside a browser, for tests/test_ask_the_data.py.
// Arguments: the pack, then the scripts to load, in order. Each line of standard input is {task, ...} as JSON,
// and each line of the output its answer.
const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { runInThisContext } = require("node:vm");

const [pack, ...scripts] = process.argv.slice(2);
for (const path of scripts) runInThisContext(readFileSync(path, "utf-8"), path);
const { read, write } = AskTheData.use("question"), { answer, csv } = AskTheData.use("view");

const tasks = {
  // every value of a column, by the row
  column(table, { name }) {
    return Array.from({ length: table.rows }, (_, row) => table.by[name].at(row));
  },
  columns: (table) => table.columns.map(({ name, per }) => [name, per ?? 0]),
  sources: (table, { rows }) => rows.map(table.source),
  ask(table, { question }) {
    const asked = read(question, table.by), found = answer(table, asked);
    return { again: write(asked), runs: found.rows.length, csv: csv(table, found) };
  },
  counts(table, { question, name }) {
    return Array.from(answer(table, read(question, table.by)).counts(name));
  },
  quantiles: (_, { freedoms }) => freedoms.map(AskTheData.use("groups").quantile),
};

AskTheData.use("data").unpack(JSON.parse(readFileSync(pack, "utf-8"))).then((table) => {
  createInterface({ input: process.stdin }).on("line", (line) => {
    const { task, ...job } = JSON.parse(line);
    process.stdout.write(`${JSON.stringify(tasks[task](table, job))}\n`);
  });
});
