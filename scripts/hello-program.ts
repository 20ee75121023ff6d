/**
 * Makes a Linux executable that prints one line. It needs no compiler and no file of the machine, and runs in an empty
 * container.
 *
 * @see https://refspecs.linuxfoundation.org/elf/elf.pdf
 */

const ELF_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const LOAD_ADDRESS = 0x400000n;

/** Machine numbers of the ELF header. */
const MACHINES = { amd64: 62, arm64: 183 } as const;

/** Supported architectures. */
export type HelloArchitecture = keyof typeof MACHINES;

/**
 * Makes the program.
 *
 * @param architecture name as in images
 * @param line text to print, ASCII, with its line feed
 * @returns the executable's bytes
 */
export function helloProgram(architecture: HelloArchitecture, line: string): Buffer {
  const message = Buffer.from(line, 'ascii');
  const code = architecture === 'amd64' ? amd64Code(message.length) : arm64Code(message.length);
  const start = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;
  const size = BigInt(start + code.length + message.length);

  const header = Buffer.alloc(start);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bit, little endian, version 1
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(MACHINES[architecture], 18);
  header.writeUInt32LE(1, 20); // version
  header.writeBigUInt64LE(LOAD_ADDRESS + BigInt(start), 24); // entry point
  header.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32); // program headers' place
  header.writeUInt16LE(ELF_HEADER_BYTES, 52);
  header.writeUInt16LE(PROGRAM_HEADER_BYTES, 54);
  header.writeUInt16LE(1, 56); // one program header

  header.writeUInt32LE(1, 64); // to be loaded
  header.writeUInt32LE(5, 68); // readable and executable
  header.writeBigUInt64LE(LOAD_ADDRESS, 80);
  header.writeBigUInt64LE(LOAD_ADDRESS, 88);
  header.writeBigUInt64LE(size, 96); // bytes in the file
  header.writeBigUInt64LE(size, 104); // bytes in memory
  header.writeBigUInt64LE(0x1000n, 112); // alignment
  return Buffer.concat([header, code, message]);
}

/** write(1, message, length); exit(0). The message follows the code. */
function amd64Code(length: number): Buffer {
  return Buffer.from([
    ...[0xb8, 1, 0, 0, 0], // mov eax, 1 (write)
    ...[0xbf, 1, 0, 0, 0], // mov edi, 1 (stdout)
    ...[0x48, 0x8d, 0x35, 16, 0, 0, 0], // lea rsi, [rip + 16]
    ...[0xba, length, 0, 0, 0], // mov edx, length
    ...[0x0f, 0x05], // syscall
    ...[0xb8, 60, 0, 0, 0], // mov eax, 60 (exit)
    ...[0x31, 0xff], // xor edi, edi
    ...[0x0f, 0x05], // syscall
  ]);
}

function arm64Code(length: number): Buffer {
  const words = [
    0xd2800020, // mov x0, #1 (stdout)
    0x100000e1, // adr x1, #28
    0xd2800002 + length * 32, // mov x2, #length
    0xd2800808, // mov x8, #64 (write)
    0xd4000001, // svc #0
    0xd2800000, // mov x0, #0
    0xd2800ba8, // mov x8, #93 (exit)
    0xd4000001, // svc #0
  ];
  const code = Buffer.alloc(words.length * 4);
  for (const [index, word] of words.entries()) code.writeUInt32LE(word, index * 4);
  return code;
}
