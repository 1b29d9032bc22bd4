#include "runner/execd/path_expansion.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

namespace forkbox::execd {
namespace {

bool BeginsName(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }
bool ContinuesName(char c) { return BeginsName(c) || (c >= '0' && c <= '9'); }

// The name that a form at the start of `text`, which begins with '$', speaks of, and how long the
// form is; {"", 0} for what is no form.
std::pair<std::string_view, std::size_t> NameAt(std::string_view text) {
  const bool braced = text.size() > 1 && text[1] == '{';
  const std::size_t begin = braced ? 2 : 1;
  std::size_t end = begin;
  if (end >= text.size() || !BeginsName(text[end])) return {};
  while (end < text.size() && ContinuesName(text[end])) ++end;
  if (braced && (end >= text.size() || text[end] != '}')) return {};
  return {text.substr(begin, end - begin), braced ? end + 1 : end};
}

}  // namespace

Result<std::string> ExpandPath(std::string_view path, const Environment& environment) {
  std::string expanded;
  std::set<std::string> undefined;
  while (!path.empty()) {
    const std::size_t plain = std::min(path.find('$'), path.size());
    expanded.append(path.substr(0, plain));
    path.remove_prefix(plain);
    if (path.empty()) break;
    const auto [name, length] = NameAt(path);
    if (length == 0) {
      expanded.push_back('$');
      path.remove_prefix(1);
      continue;
    }
    const auto found = environment.find(std::string(name));
    if (found != environment.end()) {
      expanded.append(found->second);
    } else {
      undefined.emplace(name);
    }
    path.remove_prefix(length);
  }
  if (undefined.empty() && (expanded == "~" || expanded.starts_with("~/"))) {
    const auto home = environment.find("HOME");
    if (home != environment.end()) {
      expanded.replace(0, 1, home->second);
    } else {
      undefined.emplace("HOME");
    }
  }
  if (undefined.empty()) return expanded;
  std::string names;
  for (const std::string& name : undefined) names += (names.empty() ? "" : ",") + name;
  return Fail(ErrorCode::kInvalidArgument,
              "path references undefined environment variables: " + names);
}

std::string CleanPath(std::string_view path, std::string_view base) {
  std::vector<std::string_view> parts;
  const auto walk = [&parts](std::string_view rest) {
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      if (part.empty() || part == ".") continue;
      if (part != "..") {
        parts.push_back(part);
      } else if (!parts.empty()) {
        parts.pop_back();
      }
    }
  };
  if (!path.starts_with('/')) walk(base);
  walk(path);
  std::string clean;
  for (const std::string_view part : parts) (clean += '/') += part;
  return clean.empty() ? "/" : clean;
}

}  // namespace forkbox::execd
