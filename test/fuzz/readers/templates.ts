import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pick } from '../../../src/random.ts';
import { readPromptTemplate } from '../../../src/node/checkpoint.ts';
import type { Fuzz } from '../fuzz.ts';

const whole = [
  '{{ bos_token }}{% for m in messages %}{{ m.role|upper }}: {% for c in m.content %}{% if c.type == "image" %}<image>\n{% else %}{{ c.text }} {% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}',
  "{{ '[INST] ' + messages[0]['content'] + ' [/INST]' }}",
  '{{ messages[0].content | trim }}',
];
/** What is put in: pieces of the language, and some that grow. */
const pieces = [
  '{% for i in range(7) %}',
  '{% for i in range(10 ** 9) %}',
  '{% endfor %}',
  '{% if m is defined %}',
  '{% else %}',
  '{% endif %}',
  '{% set ns = namespace(s="ab", l=[1]) %}',
  '{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}',
  '{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}',
  '{{ ns.s|replace("a", ns.s)|length }}',
  '{{ ns.l|tojson }}',
  '{{ messages|tojson(indent=3) }}',
  '{{ messages[0][-1:][::0] }}',
  '{{ none.x }}',
  '{{ raise_exception(1) }}',
  '{{ strftime_now("%d") }}',
  '{% macro f(x) %}{{ f(x) }}{% endmacro %}',
  '{{ f(1) }}',
  '{#',
  '#}',
  '{%- ',
  ' -%}',
  '{{',
  '}}',
  '\r\n',
  '\0',
  '\uD800',
  '"',
  '|indent(999999999)',
  '<image>',
];

/** Chat templates: pieces of the language put in, left out and cut off, in each of the files that hold one. */
export const templates: Fuzz = {
  prepare(folder) {
    const files = [
      'chat_template.jinja',
      'chat_template.json',
      'processor_config.json',
      'tokenizer_config.json',
    ];
    return Promise.resolve(async (random) => {
      let source = pick(random, whole);
      for (let n = Math.floor(random() * 4); n > 0; n--) {
        const at = Math.floor(random() * source.length);
        source =
          source.slice(0, at) + pick(random, pieces) + source.slice(at + Math.floor(random() ** 4 * 20));
      }
      const name = pick(random, files);
      for (const file of files)
        await writeFile(
          path.join(folder, file),
          file === 'chat_template.json' ? '{"chat_template":null}' : file.endsWith('.json') ? '{}' : '',
        );
      const values: unknown[] = [
        source,
        source,
        source,
        [{ name: 'default', template: source }],
        { default: source },
        [[source]],
        [null],
        5,
      ];
      const content = name.endsWith('.json')
        ? JSON.stringify({ chat_template: pick(random, values) })
        : source;
      await writeFile(path.join(folder, name), content);
      return {
        what: `${name} ${content}`,
        run: async () => (await readPromptTemplate(folder))('What is it?'),
      };
    });
  },
};
