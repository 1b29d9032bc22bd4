// A language as its folder describes it: runner/languages/<id>/manifest.json. The format is
// documented in runner/languages/README.md; adding a plain language is adding a folder.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
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

struct Manifest {
  std::string id;
  std::string name;
  std::vector<std::string> aliases;
  std::vector<std::string> version_command;
  std::string file_name;  // what the program is called in its working directory
  std::vector<std::string>
      run_command;  // "{file}" stands for file_name; cold start of a warmed one
  TemplateKind kind = TemplateKind::kExec;
  std::vector<std::string> template_command;
  // Further warm templates, each with more imported, for programs that mention one of these words.
  struct Variant {
    std::vector<std::string> mentions;
    std::vector<std::string> command;
  };
  std::vector<Variant> variants;
  bool functions = false;  // its templates run function entries: code that returns a value
  std::map<std::string, std::string> template_env;
  std::map<std::string, std::string> env;  // of the program, beyond the common one
  std::vector<Bind> binds;
  std::string smoke_code;
  std::string smoke_stdout;
  schema::Limits limits;

  // True for the id and every alias.
  [[nodiscard]] bool Answers(std::string_view language) const;
};

// kInvalidArgument naming what is wrong.
Result<Manifest> ParseManifest(std::string_view json);

// Every *.json of the folder, sorted by id. An unreadable one is an error: better no start than a
// language silently missing. Two that answer to one name are an error too.
Result<std::vector<Manifest>> LoadManifests(const std::string& folder);

}  // namespace forkbox::languages
