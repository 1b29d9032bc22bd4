// What the kernel and the processor themselves give, without any library's generator.
#include <cpuid.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

static void Print(const char* name, const void* bytes, unsigned size) {
  printf("%s = ", name);
  for (unsigned i = 0; i < size; ++i) printf("%02x", ((const unsigned char*)bytes)[i]);
  puts("");
}

int main(void) {
  unsigned char drawn[16];
  if (getrandom(drawn, sizeof drawn, 0) != sizeof drawn) return 1;
  Print("getrandom", drawn, sizeof drawn);
  Print("AT_RANDOM", (const void*)getauxval(AT_RANDOM), 16);  // seeds stack protectors
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d) && (c & bit_RDRND) != 0) {
    unsigned long long number = 0;
    unsigned char ok = 0;
    for (int i = 0; i < 10 && !ok; ++i) {
      __asm__ volatile("rdrand %0; setc %1" : "=r"(number), "=qm"(ok) : : "cc");
    }
    if (!ok) return 2;
    Print("rdrand", &number, sizeof number);
  }
  return 0;
}
