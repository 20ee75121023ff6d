import type { OptionSpec, ParsedOptions } from './options/parse.ts';

/** A command as it is called. */
export interface CommandCall {
  readonly options: ParsedOptions;
  readonly positionals: readonly string[];
  /** `process.env`. */
  readonly environment: NodeJS.ProcessEnv;
  /** What `.env` says otherwise than its author has meant, as a rule. */
  readonly warnings: readonly string[];
  /** All commands, for those that tell about them. */
  readonly commands: readonly Command[];
}

/** What the module of a command exports. */
export interface CommandModule {
  /**
   * Runs the command.
   *
   * @returns the exit code
   * @throws PassthroughError which `exitCodeOf` and `errorLines` translate
   */
  run(call: CommandCall): Promise<number>;
}

/** A row of the table of commands. Help, parser and completion follow from it. */
export interface Command {
  readonly name: string;
  /** What stands behind the name, as in `REF FILE`; empty for nothing. */
  readonly operands: string;
  /** Least and most operands. */
  readonly arity: readonly [min: number, max: number];
  /** What the shell completes operands with. */
  readonly completes?: 'file' | 'command' | readonly string[];
  /** One line for the list of commands. */
  readonly summary: string;
  /** Further paragraphs of the help. */
  readonly text: readonly string[];
  readonly options: readonly OptionSpec[];
  /** Each is the command line without the program's name, and what it does. Tests run them. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /** Whether variables are also read from `.env` in the working directory. */
  readonly readsDotEnv?: boolean;
  /** Loads the module. Nothing of it is loaded before: `--help` and `--version` must be quick. */
  load(): Promise<CommandModule>;
}

/** The name of the program in messages and examples. */
export const PROGRAM = 'docker-http-passthrough';
