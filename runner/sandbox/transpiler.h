// Transpiler: TypeScript to JavaScript, in a few processes that live on.
//
// A source takes half a millisecond where starting a transpiler takes hundreds, so it is started
// once. It reads text from anyone: each process is a sandbox like those of programs (Driver::Serve)
// and serves one source at a time, in its own memory put back to the same state after each
// (languages/typescript/transpile.js). It is given no more than a deadline: a process that is late,
// dies or answers nonsense is replaced, and only the source it worked on is affected: it is
// remembered for a while and then refused at once.
//
// Of the program: main.ts and every .ts, .tsx, .mts and .cts among its files (not .d.ts) become
// main.js, .js, .mjs and .cjs with an inline source map; the other files are left as they are.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/sandbox/compiler.h"
#include "runner/sandbox/driver.h"

namespace forkbox::sandbox {

struct TranspilerOptions {
  std::size_t processes = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 2, 8);
  std::string file_name = "main.ts";  // of Source::code
  // Sources that may wait for a process; one more fails at once.
  std::size_t max_waiting = 256;
  // A source has this time, more by its size, and never more than the most.
  std::chrono::milliseconds time{5000};
  std::chrono::milliseconds time_per_mib{5000};
  std::chrono::milliseconds time_per_file{20};
  std::chrono::milliseconds most_time{60'000};
  std::chrono::milliseconds start_time{30'000};  // of a process, until it is ready
  std::uint64_t memory_bytes = 1ULL << 30;       // of a process
  std::uint64_t max_source_bytes = 64ULL << 20;  // of all files
  // A source that cost a process is refused for so long, without another: it is not to take them
  // from everybody again and again.
  std::chrono::milliseconds refuse_time{600'000};
  // Whatever it may have gathered, it goes after so many sources.
  std::uint64_t sources_per_process = 50'000;
  Log log = Log::Null();
};

struct TranspilerStats {
  std::uint64_t started = 0;  // processes that came to be ready
  std::uint64_t lost = 0;     // that died, were late or answered nonsense
  std::size_t ready = 0;      // now, those at work included
};

// See compiler.h for the contract. Thread-safe. The processes are started in the background by the
// first Prepare() or Compile(), which the driver must be open for.
class Transpiler final : public Compiler {
 public:
  // The driver outlives the transpiler.
  Transpiler(Driver& driver, TranspilerOptions options);
  ~Transpiler() override;

  void Prepare();

  Compiled Compile(const schema::Source& source, const std::stop_token& cancelled) override;

  // One cell of an interactive session: a script that keeps what it declares and imports for later
  // cells, with an inline source map (languages/node/session.js knows what to do with both).
  // kInvalidArgument: it is not TypeScript, and why, a line "cell:2:5: error: …" and further ones.
  // kUnavailable: no transpiler.
  Result<std::string> TranspileCell(const std::string& code);

  [[nodiscard]] TranspilerStats Stats() const;

 private:
  struct Slot {
    std::unique_ptr<Service> service;  // nullptr: to be started
    bool busy = false;
    std::uint64_t sources = 0;
  };
  enum class Ending { kAnswered, kDied, kLate, kTooLarge, kCancelled };
  struct Exchange {
    Ending ending = Ending::kDied;
    std::string reply;
  };

  Compiled CompileAs(const std::string& file_name, const schema::Source& source,
                     const std::stop_token& cancelled);
  Slot* Take(const std::stop_token& cancelled, std::string* why_not);
  void GiveBack(Slot* slot, bool keep);
  void KeepRunning(std::size_t index, const std::stop_token& stop);
  std::string RefusalOf(std::string_view request);
  void Remember(std::string_view request, const std::string& refusal);
  Result<std::unique_ptr<Service>> StartProcess(const std::stop_token& stop);
  [[nodiscard]] std::chrono::milliseconds TimeFor(std::size_t bytes, std::size_t files) const;
  static Exchange Talk(Service& service, std::string_view request, Deadline deadline,
                       const std::stop_token& cancelled);

  Driver& driver_;
  const TranspilerOptions options_;

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable_any changed_;
  std::vector<Slot> slots_;
  std::size_t waiting_ = 0;
  bool prepared_ = false;
  std::string last_failure_;  // to start a process; empty while that goes well
  TranspilerStats stats_;
  // Sources that cost a process, by a digest of their request; the oldest first in the order.
  struct Offence {
    Deadline until;
    std::string refusal;
  };
  std::unordered_map<std::string, Offence> offences_;
  std::deque<std::string> offence_order_;
  std::vector<std::jthread> keepers_;  // of one slot each. Last: they use the others
};

}  // namespace forkbox::sandbox
