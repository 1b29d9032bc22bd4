#include "runner/sandbox/vm/guest_files.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// Of Node only what runs: beside it are the headers that addons are built with. A language that
// this installation lacks is lacked by its machines, too.
constexpr const char* kFolders[] = {"bash", "exec", "go", "node", "node-dist/bin", "python"};
constexpr const char* kNeeded[] = {"exec/exec_template", "manifests"};
constexpr const char* kLanguages[] = {"bash", "go", "javascript", "python"};
constexpr std::size_t kMostFiles = 20'000;

Error Unreadable(const fs::path& path, const std::string& why) {
  return {ErrorCode::kUnavailable, "the runtime's " + path.string() + ": " + why};
}

Result<void> AddFile(const fs::path& source, const fs::path& relative,
                     std::vector<GuestFile>* files) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(source, error);
  if (error) return Fail(Unreadable(source, error.message()));
  if (files->size() >= kMostFiles) return Fail(Unreadable(source, "too many files"));
  GuestFile file{.path = relative.string(), .source = {}, .link_target = {}};
  if (fs::is_symlink(status)) {
    file.link_target = fs::read_symlink(source, error).string();
    if (error) return Fail(Unreadable(source, error.message()));
  } else if (fs::is_regular_file(status)) {
    file.source = source.string();
    file.executable = (status.permissions() & fs::perms::owner_exec) != fs::perms::none;
  } else {
    return Fail(Unreadable(source, "neither a file nor a link"));
  }
  files->push_back(std::move(file));
  return {};
}

Result<void> AddFolder(const fs::path& runtime, const char* name, std::vector<GuestFile>* files) {
  std::error_code error;
  const fs::path folder = runtime / name;
  if (!fs::is_directory(folder, error)) return {};
  auto walk = fs::recursive_directory_iterator(folder, error);
  for (; !error && walk != fs::recursive_directory_iterator(); walk.increment(error)) {
    const fs::path& path = walk->path();
    if (walk->is_directory(error) && !walk->is_symlink(error)) {
      // Of whoever ran Python over the folder.
      if (path.filename() == "__pycache__") walk.disable_recursion_pending();
      continue;
    }
    if (auto added = AddFile(path, path.lexically_relative(runtime), files); !added) return added;
  }
  if (error) return Fail(Unreadable(folder, error.message()));
  return {};
}

}  // namespace

std::vector<std::string> GuestLanguages() { return {std::begin(kLanguages), std::end(kLanguages)}; }

Result<std::vector<GuestFile>> GuestFiles(const std::string& runtime_dir) {
  const fs::path runtime = runtime_dir;
  std::error_code error;
  for (const char* needed : kNeeded) {
    if (!fs::exists(runtime / needed, error)) return Fail(Unreadable(runtime / needed, "missing"));
  }
  std::vector<GuestFile> files;
  for (const char* folder : kFolders) {
    if (auto added = AddFolder(runtime, folder, &files); !added) return Fail(added.error());
  }
  for (const char* language : kLanguages) {
    const fs::path manifest = fs::path("manifests") / (std::string(language) + ".json");
    if (auto added = AddFile(runtime / manifest, manifest, &files); !added) {
      return Fail(added.error());
    }
  }
  std::sort(files.begin(), files.end(),
            [](const GuestFile& a, const GuestFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace forkbox::sandbox::vm
