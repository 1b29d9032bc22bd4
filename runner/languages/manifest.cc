#include "runner/languages/manifest.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "schema/json.h"

namespace forkbox::languages {
namespace {

using nlohmann::json;

// Reads members of one JSON object; the first problem is kept and names its place.
class Members {
 public:
  Members(const json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object.is_object()) Problem("", "must be an object");
  }

  std::string Text(const char* name, bool required) {
    const auto found = Find(name, required);
    if (found == nullptr) return {};
    if (!found->is_string()) return Problem(name, "must be a string"), std::string();
    auto text = found->get<std::string>();
    ForbidNul(name, text);
    return text;
  }

  std::vector<std::string> Texts(const char* name, bool required) {
    std::vector<std::string> texts;
    const auto found = Find(name, required);
    if (found == nullptr) return texts;
    if (!found->is_array()) return Problem(name, "must be an array of strings"), texts;
    for (const json& item : *found) {
      if (!item.is_string()) return Problem(name, "must be an array of strings"), texts;
      texts.push_back(item.get<std::string>());
      ForbidNul(name, texts.back());
    }
    return texts;
  }

  std::map<std::string, std::string> TextMap(const char* name) {
    std::map<std::string, std::string> texts;
    const auto found = Find(name, false);
    if (found == nullptr) return texts;
    if (!found->is_object()) return Problem(name, "must map names to strings"), texts;
    for (const auto& [key, value] : found->items()) {
      if (!value.is_string()) return Problem(name, "must map names to strings"), texts;
      texts[key] = value.get<std::string>();
      ForbidNul(name, key);
      ForbidNul(name, texts[key]);
      if (key.empty() || key.find('=') != std::string::npos) {
        Problem(name, "must map names of variables to strings");
      }
    }
    return texts;
  }

  bool Flag(const char* name) {
    const auto found = Find(name, false);
    if (found == nullptr) return false;
    if (!found->is_boolean()) return Problem(name, "must be true or false"), false;
    return found->get<bool>();
  }

  std::uint64_t Number(const char* name, std::uint64_t otherwise) {
    const auto found = Find(name, false);
    if (found == nullptr) return otherwise;
    if (!found->is_number_unsigned()) return Problem(name, "must be a whole number"), otherwise;
    return found->get<std::uint64_t>();
  }

  // A whole number of `unit`s from 1 to what 63 bits hold of them.
  std::uint64_t Size(const char* name, std::uint64_t unit, std::uint64_t otherwise) {
    const std::uint64_t number = Number(name, otherwise / unit);
    constexpr std::uint64_t kMost = 1ULL << 62;
    if (number == 0 || number > kMost / unit) return Problem(name, "is out of range"), otherwise;
    return number * unit;
  }

  // A command line: an absolute program and its arguments.
  std::vector<std::string> Command(const char* name) {
    std::vector<std::string> words = Texts(name, true);
    if (problem_.empty() && (words.empty() || words[0].rfind('/', 0) != 0)) {
      Problem(name, "must start with the absolute path of a program");
    }
    return words;
  }

  const json* Find(const char* name, bool required) {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(name);
    if (found != object_.end()) return &*found;
    if (required) Problem(name, "is missing");
    return nullptr;
  }

  // Members of a limit on resources.
  void Limits(schema::Limits* limits) {
    limits->memory_bytes = Size("memory_mb", 1ULL << 20, limits->memory_bytes);
    limits->disk_bytes = Size("disk_mb", 1ULL << 20, limits->disk_bytes);
    const std::uint64_t pids = Size("pids", 1, limits->pids);
    if (pids > 1'000'000) Problem("pids", "is out of range");
    limits->pids = static_cast<std::uint32_t>(pids);
  }

  // Texts end up in argument vectors and paths, which end at a NUL.
  void ForbidNul(const char* name, const std::string& text) {
    if (text.find('\0') != std::string::npos) Problem(name, "must not contain NUL");
  }

  void Problem(const std::string& name, const std::string& what) {
    if (problem_.empty()) problem_ = where_ + (name.empty() ? "" : name) + " " + what;
  }
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  const json& object_;
  const std::string where_;
  std::string problem_;
};

}  // namespace

namespace {

// What requests, rows, metrics and paths can carry as it is: "c++", "node.js", "objective-c".
bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= 64 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                  std::string_view("+#._-").find(c) != std::string_view::npos;
         });
}

bool IsAbsoluteAndPlain(const std::string& path) {
  return path.size() > 1 && path[0] == '/' && path.find("/..") == std::string::npos;
}

bool IsExtension(const std::string& text) {
  return text.size() > 1 && text.size() <= 16 && text[0] == '.' &&
         text.find('/') == std::string::npos;
}

// Of each stream: who reads a compiler's output reads its beginning.
constexpr std::uint64_t kCompilerOutputBytes = 256U << 10;

CompileStep ReadCompileStep(const json& object, bool runs_as_another, Members* manifest) {
  CompileStep step;
  Members in(object, "compile.");
  if (!runs_as_another || in.Find("command", false) != nullptr)
    step.command = in.Command("command");
  step.artefacts = in.Texts("artefacts", !step.command.empty());
  step.env = in.TextMap("env");
  if (!step.command.empty() && step.artefacts.empty()) {
    in.Problem("artefacts", "must say what the command makes");
  }
  for (const std::string& path : step.artefacts) {
    if (!IsAbsoluteAndPlain(path)) in.Problem("artefacts", "must be absolute paths");
  }
  step.limits.output_bytes = kCompilerOutputBytes;
  if (const json* limits = in.Find("limits", false)) {
    Members own(*limits, "compile.limits.");
    own.Limits(&step.limits);
    const std::uint64_t seconds = own.Size("wall_s", 1, 30);
    if (seconds > 600) own.Problem("wall_s", "is out of range");
    step.limits.wall = step.limits.cpu = std::chrono::seconds(seconds);
    if (!own.problem().empty()) in.Problem("", own.problem());
  }
  if (!in.problem().empty()) manifest->Problem("", in.problem());
  return step;
}

Session ReadSession(const json& object, bool has_template, Members* manifest) {
  Session session;
  Members in(object, "session.");
  session.warm = in.Flag("warm");
  session.as = in.Text("as", false);
  session.file = in.Text("file", session.warm);
  session.forks = in.Flag("forks");
  session.env = in.TextMap("env");
  if (in.Find("command", !session.warm && session.as.empty()) != nullptr) {
    session.command = in.Command("command");
  }
  const json* own_template = in.Find("template", session.warm && !has_template);
  if (own_template != nullptr) {
    Members own(*own_template, "session.template.");
    session.template_command = own.Command("command");
    session.template_env = own.TextMap("env");
    if (!own.problem().empty()) manifest->Problem("", own.problem());
  }
  if (session.warm && (session.file.empty() || session.file[0] == '/' ||
                       session.file.find("..") != std::string::npos)) {
    in.Problem("file", "must be a path below the runtime folder");
  }
  if (!session.warm && !session.file.empty()) in.Problem("file", "is for a warm one");
  if (!session.warm && own_template != nullptr) in.Problem("template", "is for a warm one");
  if (static_cast<int>(session.warm) + static_cast<int>(!session.command.empty()) +
          static_cast<int>(!session.as.empty()) >
      1) {
    in.Problem("", "must have one of warm, command and as");
  }
  if (!session.as.empty() && !IsName(session.as)) in.Problem("as", "must be the id of a language");
  if (!in.problem().empty()) manifest->Problem("", in.problem());
  return session;
}

}  // namespace

bool Manifest::Answers(std::string_view language) const {
  return id == language || std::find(aliases.begin(), aliases.end(), language) != aliases.end();
}

Result<Manifest> ParseManifest(std::string_view text) {
  auto parsed = schema::ParseJson(text);
  if (!parsed) return Fail(parsed.error());
  Members in(*parsed, "");
  Manifest manifest;
  manifest.id = in.Text("id", true);
  manifest.name = in.Text("name", true);
  manifest.aliases = in.Texts("aliases", false);
  manifest.version_command = in.Command("version_command");
  manifest.file_name = in.Text("file_name", true);
  manifest.runs_as = in.Text("runs_as", false);
  if (manifest.runs_as.empty()) manifest.run_command = in.Command("run_command");
  manifest.extensions = in.Texts("extensions", false);
  manifest.env = in.TextMap("env");
  if (!IsName(manifest.id)) in.Problem("id", "must be of a-z, 0-9 and +#._-");
  for (const std::string& alias : manifest.aliases) {
    if (!IsName(alias)) in.Problem("aliases", "must be of a-z, 0-9 and +#._-");
  }
  for (const std::string& extension : manifest.extensions) {
    if (!IsExtension(extension)) in.Problem("extensions", "must be like .txt");
  }
  if (!manifest.runs_as.empty() && !IsName(manifest.runs_as)) {
    in.Problem("runs_as", "must be the id of a language");
  }
  if (manifest.name.empty()) in.Problem("name", "must not be empty");
  if (manifest.file_name.empty() || manifest.file_name[0] == '.' ||
      manifest.file_name.find('/') != std::string::npos) {
    in.Problem("file_name", "must be the name of a file, without a folder");
  }
  if (const json* object = in.Find("compile", !manifest.runs_as.empty())) {
    manifest.compile = ReadCompileStep(*object, !manifest.runs_as.empty(), &in);
  }
  if (const json* list = in.Find("requires", false)) {
    if (!list->is_array()) in.Problem("requires", "must be an array");
    for (const json& item : *list) {
      Members needed(item, "requires[].");
      manifest.requirements.push_back({needed.Text("path", true), needed.Text("package", false)});
      if (manifest.requirements.back().path.empty()) needed.Problem("path", "must not be empty");
      if (!needed.problem().empty()) in.Problem("", needed.problem());
    }
  }
  if (const json* object = in.Find("template", false)) {
    if (manifest.compile) in.Problem("template", "and compile exclude each other");
    Members warmed(*object, "template.");
    manifest.kind = TemplateKind::kWarmed;
    manifest.template_command = warmed.Command("command");
    manifest.template_env = warmed.TextMap("env");
    manifest.functions = warmed.Flag("functions");
    if (const json* list = warmed.Find("variants", false)) {
      if (!list->is_array()) warmed.Problem("variants", "must be an array");
      for (const json& item : *list) {
        Members variant(item, "variants[].");
        manifest.variants.push_back({variant.Texts("mentions", true), variant.Command("command")});
        if (!variant.problem().empty()) warmed.Problem("", variant.problem());
      }
    }
    if (!warmed.problem().empty()) in.Problem("", warmed.problem());
  }
  if (const json* object = in.Find("session", false)) {
    manifest.session = ReadSession(*object, manifest.kind == TemplateKind::kWarmed, &in);
  }
  if (const json* list = in.Find("binds", false)) {
    if (!list->is_array()) in.Problem("binds", "must be an array");
    for (const json& item : *list) {
      Members bind(item, "binds[].");
      manifest.binds.push_back({bind.Text("source", true), bind.Text("target", true)});
      if (manifest.binds.back().source.empty()) bind.Problem("source", "must not be empty");
      if (!IsAbsoluteAndPlain(manifest.binds.back().target)) {
        bind.Problem("target", "must be an absolute path");
      }
      if (!bind.problem().empty()) in.Problem("", bind.problem());
    }
  }
  if (const json* object = in.Find("smoke", true)) {
    Members smoke(*object, "smoke.");
    manifest.smoke_code = smoke.Text("code", true);
    manifest.smoke_stdout = smoke.Text("stdout", true);
    if (!smoke.problem().empty()) in.Problem("", smoke.problem());
  }
  if (const json* object = in.Find("limits", false)) {
    Members limits(*object, "limits.");
    limits.Limits(&manifest.limits);
    if (!limits.problem().empty()) in.Problem("", limits.problem());
  }
  if (!in.problem().empty()) return Fail(ErrorCode::kInvalidArgument, in.problem());
  return manifest;
}

Result<std::vector<Manifest>> LoadManifests(const std::string& folder) {
  std::vector<Manifest> manifests;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    std::stringstream text;
    text << file.rdbuf();
    auto manifest = file ? ParseManifest(text.str())
                         : Result<Manifest>(Fail(ErrorCode::kInternal, "cannot be read"));
    if (!manifest) {
      return Fail(ErrorCode::kInvalidArgument,
                  entry.path().string() + ": " + manifest.error().message);
    }
    manifests.push_back(std::move(*manifest));
  }
  if (error) return Fail(ErrorCode::kNotFound, folder + ": " + error.message());
  std::sort(manifests.begin(), manifests.end(),
            [](const Manifest& a, const Manifest& b) { return a.id < b.id; });
  std::set<std::string> names;
  for (const Manifest& manifest : manifests) {
    std::vector<std::string> own = manifest.aliases;
    own.push_back(manifest.id);
    for (const std::string& name : own) {
      if (!names.insert(name).second) {
        return Fail(ErrorCode::kConflict, "two languages are called " + name);
      }
    }
  }
  for (const Manifest& manifest : manifests) {
    if (manifest.runs_as.empty()) continue;
    const auto target =
        std::find_if(manifests.begin(), manifests.end(),
                     [&](const Manifest& other) { return other.id == manifest.runs_as; });
    if (target == manifests.end() || target->compile) {
      return Fail(ErrorCode::kInvalidArgument,
                  manifest.id + " cannot run as " + manifest.runs_as +
                      ", which is no language here or is compiled itself");
    }
  }
  for (const Manifest& manifest : manifests) {
    if (!manifest.session || manifest.session->as.empty()) continue;
    const auto target =
        std::find_if(manifests.begin(), manifests.end(),
                     [&](const Manifest& other) { return other.id == manifest.session->as; });
    if (target == manifests.end() || !target->session || !target->session->as.empty()) {
      return Fail(ErrorCode::kInvalidArgument, manifest.id + " cannot have the session of " +
                                                   manifest.session->as +
                                                   ", which is no language here or has none");
    }
  }
  return manifests;
}

}  // namespace forkbox::languages
