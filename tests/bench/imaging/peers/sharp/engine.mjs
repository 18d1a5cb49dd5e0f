// sharp, as people write it (`node engine.mjs pipelines EFFORT`: one pipeline a size) or `cascade` (each size from the
// next larger one). EFFORT is libwebp's method; sharp's own default is 4. Speaks what ../../engines/wire.py says.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import sharp from "sharp";

sharp.concurrency(1);
const [how, effort] = [process.argv[2], Number(process.argv[3])];

function encoded(pipeline, preset) {
  return preset.format === "jpeg"
    ? pipeline.jpeg({ quality: preset.quality })
    : pipeline.webp({ quality: preset.quality, effort });
}

function resized(pipeline, preset) {
  return pipeline.resize(preset.width, preset.height, { fit: preset.fit, withoutEnlargement: true });
}

function target(out, preset) {
  return `${out}/${preset.name}.${preset.extension}`;
}

async function pipelines(file, out, presets) {
  for (const preset of presets) {
    await encoded(resized(sharp(file).rotate(), preset), preset).toFile(target(out, preset));
  }
}

async function cascade(file, out, presets) {
  let larger = sharp(file).rotate();
  for (const preset of presets) {
    const { data, info } = await resized(larger, preset).raw().toBuffer({ resolveWithObject: true });
    const raw = { raw: { width: info.width, height: info.height, channels: info.channels } };
    await encoded(sharp(data, raw), preset).toFile(target(out, preset));
    larger = sharp(data, raw);
  }
}

function memory(name) {
  return Number(readFileSync("/proc/self/status", "utf8").match(new RegExp(`${name}:\\s+(\\d+)`))[1]) * 1024;
}

const run = { pipelines, cascade }[how];
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    const rss = memory("VmRSS");
    const begun = process.cpuUsage();
    const started = performance.now();
    for (const file of order.files) await run(file, order.out, order.presets);
    const wall = (performance.now() - started) / 1e3;
    const used = process.cpuUsage(begun);
    answer = { cpu: (used.user + used.system) / 1e6, wall, rss, peak: memory("VmHWM") };
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
