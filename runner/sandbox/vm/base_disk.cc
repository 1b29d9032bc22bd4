#include "runner/sandbox/vm/base_disk.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

#include "runner/sandbox/vm/making_folder.h"
#include "runner/sandbox/vm/sha256.h"
#include "runner/sandbox/vm/tool.h"
#include "runner/sandbox/vm/vm_image.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// Written last, by us: "sha256  path", as sha256sum(1) writes and checks it.
constexpr const char* kSums = "SHA256SUMS";
constexpr std::chrono::minutes kMakingAtMost{30};
constexpr std::size_t kMostKept = 3;

std::string ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

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

BaseDisk Describe(const fs::path& folder, const std::string& recipe) {
  BaseDisk base;
  base.folder = folder;
  base.recipe = recipe;
  std::istringstream(ReadText(folder / "release")) >> base.kernel;
  std::istringstream packages(ReadText(folder / "packages"));
  for (std::string name, version; packages >> name >> version;) base.packages[name] = version;
  std::istringstream modules(ReadText(folder / "modules/list"));
  for (std::string name; modules >> name;) base.modules.push_back(folder / "modules" / name);
  return base;
}

// Of the recipes of former versions the latest stay, for whoever goes back to one.
void ForgetOldOnes(const std::string& cache) {
  std::vector<std::pair<fs::file_time_type, fs::path>> kept;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(cache, error)) {
    const fs::path sums = entry.path() / kSums;
    if (fs::exists(sums, error)) kept.emplace_back(fs::last_write_time(sums, error), entry.path());
  }
  std::sort(kept.rbegin(), kept.rend());
  for (std::size_t i = kMostKept; i < kept.size(); ++i) fs::remove_all(kept[i].second, error);
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
  if (!sums || *sums != ReadText(folder / kSums)) return Fail(ErrorCode::kNotFound, "damaged");
  return Describe(folder, recipe);
}

Result<BaseDisk> BaseDisk::Make(const std::string& cache, const std::string& recipe,
                                const std::string& script,
                                const std::function<void(std::string_view)>& on_step,
                                const std::function<bool()>& stopped) {
  const std::string place = fs::path(cache) / recipe;
  auto making = MakingFolder::Begin(place);
  if (!making) return Fail(making.error());
  auto ran = RunTool({.command = {"sh", script, making->path()},
                      .on_line = on_step,
                      .stopped = stopped,
                      .at_most = kMakingAtMost});
  if (!ran) return Fail(ran.error());
  const BaseDisk made = Describe(making->path(), recipe);
  std::error_code error;
  for (const char* name : {kBaseDisk, kKernelFile}) {
    if (!fs::is_regular_file(fs::path(making->path()) / name, error)) {
      return Fail(ErrorCode::kUnavailable, script + " has made no " + name);
    }
  }
  if (made.kernel.empty() || made.packages.empty() || made.modules.empty()) {
    return Fail(ErrorCode::kUnavailable, script + " does not say what it has made");
  }
  auto sums = Sums(making->path());
  if (!sums) return Fail(sums.error());
  std::ofstream(making->path() + "/" + kSums) << *sums;
  if (auto finished = making->Finish(); !finished) return Fail(finished.error());
  ForgetOldOnes(cache);
  return Describe(place, recipe);
}

}  // namespace forkbox::sandbox::vm
