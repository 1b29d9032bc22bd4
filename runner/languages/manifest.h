// A language as its folder describes it: runner/languages/<id>/manifest.json. The format is
// documented in runner/languages/README.md; adding a plain language is adding a folder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/languages/execution_model.h"
#include "schema/execution.h"

namespace forkbox::languages {

enum class TemplateKind {
  kExec,    // the command is started in a fork of the small exec template
  kWarmed,  // the language's own runtime, imports done, is what is forked
};

struct Bind {
  std::string source;  // on the host; relative to the runtime folder unless absolute
  std::string target;  // in the sandbox
};

// What turns the source into the program that is run instead of it.
struct CompileStep {
  // Run in a sandbox of its own, in whose working directory the source and its files are: "{file}"
  // stands for file_name, "{sources}" for it and every file with one of the language's extensions.
  // Empty: the runner itself has the compiler (sandbox::Compiler), and `runs_as` says what runs.
  std::vector<std::string> command;
  // Absolute paths of what the command makes; a folder, with all in it, ends in '/'. They are in
  // the same places when the program runs.
  std::vector<std::string> artefacts;
  std::map<std::string, std::string> env;  // of the command, beyond the common one
  schema::Limits limits;                   // of the command, not of the program
};

// A file of the host that the language takes, and what installs it.
struct Requirement {
  std::string path;     // relative to the runtime folder unless absolute
  std::string package;  // of Debian; "" where it is made by our build
};

// How an interactive session of the language is started: a context of execd (session_wire.h), whose
// descriptor 3 is its channel. Exactly one of three forms:
//
//   warm      a fork of a warm template, by a job of the kind ChildJob::Entry::kSession whose only
//             argument is the path of `file` inside: "/opt/forkbox/python/session.py". The template
//             is the language's own, or, with `template_command`, one that is there for sessions
//             alone and is started when the first is wanted.
//   command   started by the exec template, as it is.
//   as        the session of another language, which is to be started instead: "javascript".
struct Session {
  bool warm = false;
  std::string file;  // warm: relative to the runtime folder
  std::vector<std::string> template_command;
  std::map<std::string, std::string> template_env;
  std::vector<std::string> command;
  std::string as;
  bool forks = false;                      // a context of it can be copied while it lives
  std::map<std::string, std::string> env;  // of the session, beyond the common one and `env`
};

struct Manifest {
  std::string id;
  std::string name;
  std::vector<std::string> aliases;
  std::vector<std::string> version_command;
  std::string file_name;                // what the program is called in its working directory
  std::vector<std::string> extensions;  // of its sources, the usual one first: ".go"
  // "{file}" stands for file_name, "{heap_mb}" for what a runtime that sizes its heap itself may
  // take of the memory limit; cold start of a warmed one. Empty where `runs_as` says what runs.
  std::vector<std::string> run_command;
  std::string runs_as;  // the id of the language as which its compiled programs run; "" for itself
  std::optional<CompileStep> compile;
  std::vector<Requirement> requirements;
  TemplateKind kind = TemplateKind::kExec;
  std::vector<std::string> template_command;
  // Further warm templates, each with more imported, for programs that mention one of these words.
  struct Variant {
    std::vector<std::string> mentions;
    std::vector<std::string> command;
  };
  std::vector<Variant> variants;
  std::optional<Session> session;
  bool functions = false;  // its templates run function entries: code that returns a value
  std::map<std::string, std::string> template_env;
  std::map<std::string, std::string> env;  // of the program, beyond the common one
  std::vector<Bind> binds;
  std::string smoke_code;
  std::string smoke_stdout;
  schema::Limits limits;

  // True for the id and every alias.
  [[nodiscard]] bool Answers(std::string_view language) const;
  [[nodiscard]] ExecutionModel execution_model() const {
    if (!compile) return ExecutionModel::kInterpreted;
    return runs_as.empty() ? ExecutionModel::kCompiled : ExecutionModel::kTranspiled;
  }
};

// kInvalidArgument naming what is wrong.
Result<Manifest> ParseManifest(std::string_view json);

// Every *.json of the folder, sorted by id. An unreadable one is an error: better no start than a
// language silently missing. Two that answer to one name are an error too, and so is one that runs
// as a language that is not there or that is compiled itself. The same for the session of another.
Result<std::vector<Manifest>> LoadManifests(const std::string& folder);

}  // namespace forkbox::languages
