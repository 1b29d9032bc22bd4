// Recursion without end in plain C.
#include <stdio.h>

static int deeper(int n) {
  volatile char frame[4096];
  frame[n % 4096] = (char)n;
  return deeper(n + 1) + frame[0];
}

int main(void) {
  printf("%d\n", deeper(1));
  return 0;
}
