import { runCommandLine } from './program.js';

// A reader that has seen enough (`| head`) closes the pipe: that is no fault, and nothing more is to be said.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

process.exitCode = await runCommandLine(process.argv.slice(2));
