#include "runner/sandbox/vm/base_disk.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "runner/sandbox/vm/making_folder.h"
#include "runner/sandbox/vm/sha256.h"
#include "runner/sandbox/vm/text_file.h"
#include "runner/sandbox/vm/tool.h"
#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// Written last, by us: "sha256  path", as sha256sum(1) writes and checks it.
constexpr const char* kSums = "SHA256SUMS";
constexpr std::chrono::minutes kMakingAtMost{30};
constexpr std::size_t kMostKept = 3;

// Of all files but itself, in the order of their names.
Result<std::string> Sums(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder, error)) {
    const std::string name = entry.path().lexically_relative(folder);
    if (!entry.is_directory(error) && name != kSums) names.push_back(name);
  }
  if (error) return Fail(ErrorCode::kUnavailable, folder.string() + ": " + error.message());
  std::sort(names.begin(), names.end());
  std::string sums;
  for (const std::string& name : names) {
    auto hash = HashFile(folder / name);
    if (!hash) return Fail(hash.error());
    sums += hash->sha256 + "  " + name + "\n";
  }
  return sums;
}

Result<BaseDisk> Describe(const fs::path& folder, const std::string& recipe) {
  BaseDisk base;
  base.folder = folder;
  base.recipe = recipe;
  auto release = ReadText(folder / "release");
  auto packages = ReadText(folder / "packages");
  auto modules = ReadText(folder / "modules/list");
  for (const auto* text : {&release, &packages, &modules}) {
    if (!*text) return Fail(text->error());
  }
  std::istringstream(*release) >> base.kernel;
  std::istringstream lines(*packages);
  for (std::string name, version; lines >> name >> version;) base.packages[name] = version;
  std::istringstream names(*modules);
  for (std::string name; names >> name;) base.modules.push_back(folder / "modules" / name);
  return base;
}

// Others may keep things of theirs beside ours: only what has the name of a recipe is ours.
bool IsRecipe(const std::string& name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Of the recipes of former versions the latest stay, for whoever goes back to one.
void ForgetOldOnes(const std::string& cache) {
  std::vector<std::pair<fs::file_time_type, fs::path>> kept;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(cache, error)) {
    const fs::path& path = entry.path();
    std::error_code missing;
    if (!IsRecipe(path.filename()) || !fs::is_directory(fs::symlink_status(path, missing)))
      continue;
    const auto made = fs::last_write_time(path / kSums, missing);
    if (!missing) kept.emplace_back(made, path);
  }
  std::sort(kept.rbegin(), kept.rend());
  for (std::size_t i = kMostKept; i < kept.size(); ++i) fs::remove_all(kept[i].second, error);
}

// Of the compiler that made the standard library of a runtime: "1.21.13"; "" where there is none.
// Each of its archives begins with the compiler's name: "go object linux amd64 go1.21.13 …".
std::string GoOf(const fs::path& runtime_dir) {
  std::ifstream archive(runtime_dir / "go/pkg/errors.a", std::ios::binary);
  std::string head(256, '\0');
  archive.read(head.data(), static_cast<std::streamsize>(head.size()));
  const auto object = head.find("go object ");
  if (object == std::string::npos) return "";
  std::istringstream words(head.substr(object, head.find('\n', object) - object));
  std::string word;
  for (int i = 0; i < 5; ++i) words >> word;
  return words && word.starts_with("go") ? word.substr(2) : "";
}

}  // namespace

Result<std::string> BaseDisk::Recipe(const std::string& script) {
  auto hash = HashFile(script);
  if (!hash) return Fail(ErrorCode::kUnavailable, hash.error().message);
  return hash->sha256;
}

Result<BaseDisk> BaseDisk::Find(const std::string& cache, const std::string& recipe) {
  const fs::path folder = fs::path(cache) / recipe;
  std::error_code error;
  if (!fs::exists(folder / kSums, error)) return Fail(ErrorCode::kNotFound, "not there");
  auto sums = Sums(folder);
  auto written = ReadText(folder / kSums);
  if (!sums || !written || *sums != *written) return Fail(ErrorCode::kNotFound, "damaged");
  auto base = Describe(folder, recipe);
  if (!base) return Fail(ErrorCode::kNotFound, base.error().message);
  return base;
}

Result<BaseDisk> BaseDisk::Make(const std::string& cache, const std::string& recipe,
                                const std::string& script,
                                const std::function<void(std::string_view)>& on_step,
                                const std::function<bool()>& stopped) {
  const std::string place = fs::path(cache) / recipe;
  auto making = MakingFolder::Begin(cache, recipe);
  if (!making) return Fail(making.error());
  auto ran = RunTool({.command = {"sh", script, making->path()},
                      .on_line = on_step,
                      .stopped = stopped,
                      .at_most = kMakingAtMost});
  if (!ran) return Fail(ran.error());
  std::error_code error;
  for (const char* name : {kBaseDisk, kKernelFile}) {
    if (!fs::is_regular_file(fs::path(making->path()) / name, error)) {
      return Fail(ErrorCode::kUnavailable, script + " has made no " + name);
    }
  }
  const auto made = Describe(making->path(), recipe);
  if (!made || made->kernel.empty() || made->packages.empty() || made->modules.empty()) {
    return Fail(ErrorCode::kUnavailable, script + " does not say what it has made");
  }
  auto sums = Sums(making->path());
  if (!sums) return Fail(sums.error());
  if (auto written = WriteText(making->path() + "/" + kSums, *sums); !written) {
    return Fail(written.error());
  }
  if (auto finished = making->Finish(place); !finished) return Fail(finished.error());
  ForgetOldOnes(cache);
  return Describe(place, recipe);
}

Result<void> BaseDisk::CheckGo(const std::string& runtime_dir) const {
  const std::string runtimes = GoOf(runtime_dir);
  const auto ours = packages.find("golang-1.21-go");
  if (runtimes.empty() || ours == packages.end()) return {};
  // "1.21.13-1~bpo12+1" of "1.21.13".
  const std::string upstream = ours->second.substr(0, ours->second.find('-'));
  if (upstream == runtimes) return {};
  return Fail(ErrorCode::kUnavailable,
              "the runtime's standard library is of Go " + runtimes +
                  ", the compiler on the disk with Debian's packages of " + upstream +
                  ": run `forkbox vm build --fresh`, or `apt-get install golang-1.21-go` and build "
                  "forkbox again, whichever is older");
}

}  // namespace forkbox::sandbox::vm
