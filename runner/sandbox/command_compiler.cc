#include "runner/sandbox/command_compiler.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "runner/sandbox/artefacts.h"

namespace forkbox::sandbox {
namespace {

using schema::Reason;

// What the compiler said: diagnostics first, which most of them write to stderr.
std::string Said(schema::Outcome* outcome) {
  std::string text = std::move(outcome->stderr_text);
  if (!text.empty() && text.back() != '\n' && !outcome->stdout_text.empty()) text += '\n';
  text += outcome->stdout_text;
  if (outcome->stderr_truncated || outcome->stdout_truncated) {
    if (!text.empty() && text.back() != '\n') text += '\n';
    text += "(more of the compiler's output is left out)\n";
  }
  return text;
}

// What only a machine in need says: another try may end otherwise.
bool SpeaksOfWant(std::string_view output) {
  constexpr std::array<std::string_view, 6> kWants = {
      "Killed",  // the end of a compiler's own child, as gcc has it
      "signal: killed", "annot allocate memory", "esource temporarily unavailable",
      "out of memory",  "insufficient memory",
  };
  return std::any_of(kWants.begin(), kWants.end(), [&](std::string_view want) {
    return output.find(want) != std::string_view::npos;
  });
}

// Compilers exit with 1 or 2 over what is wrong with a source, and say what it is. Whatever else
// they exit with may have come from outside: 70 and 126 up are those of the child that starts them.
bool DecidedBySource(int exit_code, std::string_view output) {
  return exit_code >= 0 && exit_code <= 2 && !output.empty() && !SpeaksOfWant(output);
}

}  // namespace

Compiled CommandCompiler::Compile(const schema::Source& source, const std::stop_token& cancelled) {
  const auto start = std::chrono::steady_clock::now();
  Compiled compiled;
  compiled.reason = Reason::kSandboxFailed;
  auto sandbox = driver_.ForkCompile(language_);
  if (!sandbox) {
    compiled.message = "compile: " + sandbox.error().message;
    return compiled;
  }
  ProcessSandbox::Compiled run;
  {
    const std::stop_callback kill(cancelled, [&] { (*sandbox)->Cancel(); });
    run = (*sandbox)->Compile(source);
  }
  compiled.reason = run.outcome.reason;
  compiled.message = std::move(run.outcome.message);
  compiled.output = Said(&run.outcome);
  if (run.outcome.reason == Reason::kSignalled) {
    // Not our kill: something in the sandbox sent it to the child that waits for the compiler.
    compiled.reason = Reason::kCompileFailed;
    compiled.repeatable = false;
    compiled.output += "the compiler was killed by a signal\n";
  } else if (run.outcome.reason == Reason::kExited && run.outcome.exit_code != 0) {
    compiled.reason = Reason::kCompileFailed;
    compiled.repeatable = DecidedBySource(*run.outcome.exit_code, compiled.output);
    if (compiled.output.empty()) {
      compiled.output =
          "the compiler failed with exit code " + std::to_string(*run.outcome.exit_code) + "\n";
    }
  } else if (run.outcome.reason == Reason::kExited) {
    auto artefacts =
        ReadArtefacts(run.answer, run.cut, driver_.ManifestOf(language_)->compile->artefacts);
    if (artefacts) {
      compiled.program = source;
      // After the files of the source, so that they are what is there in the end.
      for (schema::SourceFile& file : *artefacts) {
        compiled.program.files.push_back(std::move(file));
      }
      if (!FitsIntoSandbox(compiled.program)) {
        compiled.program = {};
        compiled.reason = Reason::kCompileFailed;
        compiled.output += "the program and the files beside it are too large together\n";
      }
    } else {
      compiled.reason = Reason::kCompileFailed;
      compiled.repeatable = false;
      compiled.output += artefacts.error().message + "\n";
    }
  }
  compiled.time = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - start);
  return compiled;
}

}  // namespace forkbox::sandbox
