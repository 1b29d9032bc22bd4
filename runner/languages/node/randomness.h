// Randomness: makes what a forked child draws its own.
//
// Two generators are copied by fork(): V8's, one per isolate, which seeds Math.random of every
// context; and OpenSSL's, behind crypto.randomBytes, randomUUID and getRandomValues, which notices
// a fork only by a changed process id, and template and child may both be 2 in their namespaces.
#pragma once

#include <v8-isolate.h>

#include <cstdint>

#include "base/result.h"

namespace forkbox::javascript {

class Randomness {
 public:
  // In the template: finds V8's generator. There is no function that leads to it, so it is
  // recognised by its behaviour, among all that the isolate points to: drawing one number moves
  // exactly this one, by exactly one step of its algorithm. Fails rather than guess.
  static Result<Randomness> Find(v8::Isolate& isolate);

  // In the child, before any JavaScript. False: no entropy, the child must not run.
  [[nodiscard]] bool Reseed() const;

 private:
  // v8::base::RandomNumberGenerator as it lies in memory.
  struct Generator {
    std::int64_t seed;
    std::uint64_t state0;
    std::uint64_t state1;
  };
  using AddEntropy = void (*)(const void* bytes, int size, double entropy);

  Randomness(Generator* generator, AddEntropy add_entropy)
      : generator_(generator), add_entropy_(add_entropy) {}

  Generator* generator_;
  AddEntropy add_entropy_;
};

}  // namespace forkbox::javascript
