#include "runner/languages/node/randomness.h"

#include <dlfcn.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>
#include <v8-context.h>
#include <v8-local-handle.h>
#include <v8-object.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace forkbox::javascript {
namespace {

// More than sizeof(v8::internal::Isolate) has ever been; reading stops where memory does.
constexpr std::size_t kIsolateBytes = 256 << 10;
constexpr std::size_t kChunkBytes = 4096;

// Reads our own memory without the risk of a fault at an address that is none.
bool ReadMemory(std::uintptr_t address, void* out, std::size_t size) {
  const iovec local{out, size};
  const iovec remote{reinterpret_cast<void*>(address), size};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

// V8's XorShift128, one step.
std::pair<std::uint64_t, std::uint64_t> Step(std::uint64_t state0, std::uint64_t state1) {
  std::uint64_t s1 = state0;
  const std::uint64_t s0 = state1;
  s1 ^= s1 << 23;
  s1 ^= s1 >> 17;
  s1 ^= s0;
  s1 ^= s0 >> 26;
  return {s0, s1};
}

}  // namespace

Result<Randomness> Randomness::Find(v8::Isolate& isolate) {
  const auto add_entropy = reinterpret_cast<AddEntropy>(::dlsym(RTLD_DEFAULT, "RAND_add"));
  if (add_entropy == nullptr) {
    return Fail(ErrorCode::kUnavailable, "this node does not export OpenSSL's RAND_add");
  }

  struct Candidate {
    std::uintptr_t address;
    Generator before;
  };
  std::vector<Candidate> candidates;
  const auto base = reinterpret_cast<std::uintptr_t>(&isolate);
  std::array<std::uintptr_t, kChunkBytes / sizeof(std::uintptr_t)> words{};
  for (std::size_t offset = 0; offset < kIsolateBytes; offset += kChunkBytes) {
    if (!ReadMemory(base + offset, words.data(), kChunkBytes)) break;
    for (const std::uintptr_t word : words) {
      Generator found{};
      if (word == 0 || word % alignof(Generator) != 0) continue;
      if (!ReadMemory(word, &found, sizeof found)) continue;
      if (found.state0 == 0 && found.state1 == 0) continue;
      candidates.push_back({word, found});
    }
  }
  // The same object may be pointed to from several fields.
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.address < b.address; });
  candidates.erase(
      std::unique(candidates.begin(), candidates.end(),
                  [](const Candidate& a, const Candidate& b) { return a.address == b.address; }),
      candidates.end());

  // A new object's identity hash is drawn from the generator.
  {
    const v8::HandleScope scope(&isolate);
    (void)v8::Object::New(&isolate)->GetIdentityHash();
  }

  std::vector<std::uintptr_t> moved;
  for (const Candidate& candidate : candidates) {
    Generator after{};
    if (!ReadMemory(candidate.address, &after, sizeof after)) continue;
    const auto [state0, state1] = Step(candidate.before.state0, candidate.before.state1);
    if (after.seed == candidate.before.seed && after.state0 == state0 && after.state1 == state1) {
      moved.push_back(candidate.address);
    }
  }
  if (moved.size() != 1) {
    return Fail(ErrorCode::kUnavailable, "this node's random number generator was not found");
  }
  return Randomness(reinterpret_cast<Generator*>(moved.front()), add_entropy);
}

bool Randomness::Reseed() const {
  struct {
    std::array<std::uint64_t, 3> v8;
    std::array<unsigned char, 48> openssl;
  } fresh;
  if (::getrandom(&fresh, sizeof fresh, 0) != static_cast<ssize_t>(sizeof fresh)) return false;
  generator_->seed = static_cast<std::int64_t>(fresh.v8[0]);
  generator_->state0 = fresh.v8[1];
  generator_->state1 = fresh.v8[2] | 1;  // all zeros would stay zeros
  add_entropy_(fresh.openssl.data(), static_cast<int>(fresh.openssl.size()),
               static_cast<double>(fresh.openssl.size()));
  return true;
}

}  // namespace forkbox::javascript
