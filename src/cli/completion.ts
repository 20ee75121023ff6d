import { quoted } from '../util/printable.ts';
import type { Command, CommandCall } from './command.ts';
import { PROGRAM } from './command.ts';
import { listOf, misuse, type OptionSpec } from './options/parse.ts';
import { GLOBAL_OPTIONS } from './options/specs.ts';
import { print } from './output/print.ts';

/** Makes the script of a shell. */
type ScriptOf = (commands: readonly Command[]) => string;

const SCRIPTS: Readonly<Record<string, ScriptOf>> = { bash: bashScript, zsh: zshScript, fish: fishScript };

/** How bash and zsh complete paths. */
const BASH_FILES = { file: '-f', folder: '-d' } as const;
const ZSH_FILES = { file: '_files', folder: '_files -/' } as const;

/** Name of the functions in the scripts. */
const FUNCTION = `_${PROGRAM.replaceAll('-', '_')}`;

/** The `completion` command. */
export async function run({ positionals: [shell = ''], commands }: CommandCall): Promise<number> {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script === undefined) {
    throw misuse(`Cannot write completion for ${quoted(shell)}: expected ${listOf(Object.keys(SCRIPTS))}`);
  }
  return await print(script(commands));
}

function optionsOf({ options }: Command): readonly OptionSpec[] {
  return [...options, ...GLOBAL_OPTIONS];
}

/** The ways in which an option is written. */
function formsOf({ name, short }: OptionSpec): readonly string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

function wordsOf({ completes }: Command, commands: readonly Command[]): string {
  if (completes === 'command') return commands.map(({ name }) => name).join(' ');
  return Array.isArray(completes) ? completes.join(' ') : '';
}

/** @see https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html */
function bashScript(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const values = optionsOf(command).flatMap((spec) => {
      if (spec.value === undefined) return [];
      const how =
        spec.choices === undefined
          ? spec.completes && BASH_FILES[spec.completes]
          : `-W '${spec.choices.join(' ')}'`;
      const reply =
        how === undefined ? 'COMPREPLY=()' : `mapfile -t COMPREPLY < <(compgen ${how} -- "$current")`;
      return `        ${formsOf(spec).join('|')}) ${reply}; return ;;`;
    });
    const words = wordsOf(command, commands);
    const operands = command.completes === 'file' ? '-f' : `-W '${words}'`;
    const names = optionsOf(command)
      .map(({ name }) => `--${name}`)
      .join(' ');
    return `    ${command.name})
      case "$previous" in
${values.join('\n')}
      esac
      if [[ "$current" == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W '${names}' -- "$current")
      else
        mapfile -t COMPREPLY < <(compgen ${operands} -- "$current")
      fi ;;`;
  });
  return `# Completion of ${PROGRAM} for bash: source <(${PROGRAM} completion bash)
${FUNCTION}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  # bash takes --option=value as three words.
  if [[ "$current" == "=" ]]; then current=""; previous="\${COMP_WORDS[COMP_CWORD-1]}"
  elif [[ "$previous" == "=" ]]; then previous="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    mapfile -t COMPREPLY < <(compgen -W '${commands.map(({ name }) => name).join(' ')} --help --version' -- "$current")
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o bashdefault -o filenames -F ${FUNCTION} ${PROGRAM}
`;
}

/** @see https://zsh.sourceforge.io/Doc/Release/Completion-System.html */
function zshScript(commands: readonly Command[]): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const plain = (text: string) => text.replace(/[[\]:\\]/g, '\\$&');
  const argument = (spec: OptionSpec) => {
    if (spec.value === undefined) return '';
    const how = spec.choices
      ? `(${spec.choices.join(' ')})`
      : spec.completes === undefined
        ? ''
        : ZSH_FILES[spec.completes];
    return `:${plain(spec.value)}:${how}`;
  };
  const cases = commands.map((command) => {
    const options = optionsOf(command).flatMap((spec) =>
      formsOf(spec).map((form) => {
        const sticky = spec.value === undefined ? '' : form.startsWith('--') ? '=' : '+';
        return quote(`${form}${sticky}[${plain(spec.text)}]${argument(spec)}`);
      }),
    );
    const words = wordsOf(command, commands);
    const operands =
      command.completes === 'file' ? ["'*:file:_files'"] : words === '' ? [] : [quote(`*:word:(${words})`)];
    return `    ${command.name}) _arguments -s ${[...options, ...operands].join(' \\\n      ')} ;;`;
  });
  const list = commands.map(({ name, summary }) => `    ${quote(`${name}:${plain(summary)}`)}`);
  return `#compdef ${PROGRAM}
# Completion of ${PROGRAM} for zsh: source <(${PROGRAM} completion zsh)
${FUNCTION}() {
  local -a commands=(
${list.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$command" in
${cases.join('\n')}
  esac
}
compdef ${FUNCTION} ${PROGRAM}
`;
}

/** @see https://fishshell.com/docs/current/completions.html */
function fishScript(commands: readonly Command[]): string {
  const quote = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const start = `complete -c ${PROGRAM}`;
  const lines = commands.flatMap((command) => {
    const seen = `-n '__fish_seen_subcommand_from ${command.name}'`;
    const words = wordsOf(command, commands);
    const operands =
      command.completes === 'file'
        ? [`${start} ${seen} -F`]
        : words === ''
          ? []
          : [`${start} ${seen} -a ${quote(words)}`];
    const options = optionsOf(command).map((spec) => {
      const short = spec.short === undefined ? '' : ` -s ${spec.short}`;
      const value = spec.value === undefined ? '' : spec.completes === undefined ? ' -x' : ' -r -F';
      const choices = spec.choices === undefined ? '' : ` -a ${quote(spec.choices.join(' '))}`;
      return `${start} ${seen}${short} -l ${spec.name}${value}${choices} -d ${quote(spec.text)}`;
    });
    return [
      `${start} -n __fish_use_subcommand -a ${command.name} -d ${quote(command.summary)}`,
      ...operands,
      ...options,
    ];
  });
  return `# Completion of ${PROGRAM} for fish: ${PROGRAM} completion fish | source
${start} -f
${lines.join('\n')}
`;
}
