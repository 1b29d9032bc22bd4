// Contexts: the interpreters of one box, each with a state of its own that lives from cell to cell
// (reference 6). A context is a fork of a warm template; a copy of one is a fork of itself.
//
// Thread-safe. At most 32 contexts a box: each holds four descriptors here.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/event.h"
#include "runner/execd/files.h"
#include "runner/execd/path_expansion.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

struct ContextInfo {
  std::string id;        // UUID
  std::string language;  // "python"
  std::string cwd;       // as asked for; "" when it was not
  bool forks = false;    // Fork() is possible
};

class Contexts {
 public:
  struct Options {
    // Source of TypeScript to JavaScript, one cell at a time; null: there is no typescript.
    std::function<Result<std::string>(const std::string& code)> transpile = nullptr;
    Environment env;                          // of the box
    std::vector<std::string> languages;       // that have sessions here and are ready
    std::chrono::seconds start_patience{30};  // for "ready"
    std::size_t max_contexts = 32;
    // Of large frames on their way (session_wire.h), the box's share of ByteBudget::OfProcess():
    // beyond, sessions wait in what they write. At least one greatest frame.
    std::size_t frame_bytes = 32U << 20;
  };

  // All must outlive it.
  Contexts(Options options, sandbox::Box& box, Files& files, const Clock& clock, Log log);
  // Ends the runs that are on; what their cells do goes on until the box ends. Waits for sinks
  // alone.
  ~Contexts();
  Contexts(const Contexts&) = delete;
  Contexts& operator=(const Contexts&) = delete;

  [[nodiscard]] bool Knows(const std::string& language) const;

  // Ready when it returns. `cwd` is absolute, and made if it is not there. kInvalidArgument: no
  // such language. kQueueFull: too many contexts. kUnavailable: it did not start.
  Result<ContextInfo> Create(const std::string& language, const std::string& cwd);
  [[nodiscard]] std::vector<ContextInfo> List(const std::string& language) const;  // "" for all
  [[nodiscard]] std::optional<ContextInfo> Get(const std::string& id) const;
  Result<void> Delete(const std::string& id);  // kNotFound. What runs in it is killed
  void DeleteAll(const std::string& language);

  // Which one a request without an id means; made on first use, and anew when it has died.
  Result<ContextInfo> Default(const std::string& language);

  // Runs a cell in the calling thread: kInit (text: the context's id), a kPing every 3 s, output,
  // results, and at the end kExecutionComplete, after kStatus and kError when it failed. Display
  // data are results too. When nobody listens any more the cell runs on to its end.
  // A context that is busy or has died says so by an error event (enames "ContextBusy",
  // "ContextDied"); kNotFound before anything was put.
  Result<void> Run(const std::string& id, const std::string& code, EventSink& sink);

  // SIGINT for what runs in it; idle: nothing. kNotFound.
  Result<void> Interrupt(const std::string& id);

  // A second context with the same live state: memory shared copy-on-write, independent from here
  // on; files are the box's and so are shared. kNotFound; kConflict while a cell runs;
  // kInvalidArgument for a language that cannot; kUnavailable when it failed.
  Result<ContextInfo> Fork(const std::string& id);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::execd
