/* A command in C, a core module for WASI 0.1: the node adapts it. It greets, shows its arguments and environment, and
 * exits with the code in EXIT_CODE. */
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

int main(int argc, char **argv) {
  const char *code = getenv("EXIT_CODE");
  printf("Greetings from C!\n");
  for (int i = 0; i < argc; i++) printf("arg %d: %s\n", i, argv[i]);
  for (char **variable = environ; *variable; variable++) printf("env: %s\n", *variable);
  return code ? atoi(code) : 0;
}
