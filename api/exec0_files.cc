#include "api/exec0_files.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace forkbox::api {

std::optional<std::string> FileNameProblem(std::string_view name) {
  if (name.empty()) return "a name";
  if (name.size() > kMaxFileNameBytes) {
    return "a name of at most " + std::to_string(kMaxFileNameBytes) + " bytes";
  }
  const bool control = std::ranges::any_of(name, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte == 0x7F;
  });
  if (control) return "a name without control characters";
  if (name.front() == '/') return "a relative path";
  std::size_t depth = 0;
  for (std::string_view rest = name;;) {
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    if (segment.empty()) return "a path without empty segments";
    if (segment == "." || segment == "..") return "a path without . and .. segments";
    if (++depth > kMaxFileNameDepth) {
      return "a path of at most " + std::to_string(kMaxFileNameDepth) + " segments";
    }
    if (slash == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(slash + 1);
  }
}

std::optional<FileClash> FindFileClash(const std::vector<schema::SourceFile>& files,
                                       const std::string& entry) {
  enum class Use { kEntry, kFile, kFolder };
  std::unordered_map<std::string_view, Use> uses;
  if (!entry.empty()) uses.emplace(entry, Use::kEntry);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string_view path = files[i].path;
    const auto [known, is_new] = uses.emplace(path, Use::kFile);
    if (!is_new) {
      switch (known->second) {
        case Use::kEntry:
          return FileClash{i, "another name than that of the program's own file"};
        case Use::kFile:
          return FileClash{i, "a name of its own"};
        case Use::kFolder:
          return FileClash{i, "another name than that of a folder of other files"};
      }
    }
    for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      const auto [folder, fresh] = uses.emplace(path.substr(0, slash), Use::kFolder);
      if (!fresh && folder->second != Use::kFolder) {
        return FileClash{i, "a path through folders that are no files"};
      }
    }
  }
  return std::nullopt;
}

}  // namespace forkbox::api
