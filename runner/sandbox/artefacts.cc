#include "runner/sandbox/artefacts.h"

#include <algorithm>
#include <set>

#include "runner/sandbox/artefact_bounds.h"
#include "runner/sandbox/template/job_wire.h"
#include "schema/utf8.h"

namespace forkbox::sandbox {
namespace {

constexpr std::size_t kMaxProblemBytes = 2048;

bool HasStep(std::string_view path, std::string_view step) {
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    if (path.substr(0, slash) == step) return true;
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return false;
}

bool Wanted(std::string_view path, const std::vector<std::string>& wanted) {
  if (path.size() > kMaxArtefactPathBytes || path.find('\0') != path.npos) return false;
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& place) {
    if (place.back() != '/') return path == place;
    if (path.size() <= place.size() || path.substr(0, place.size()) != place) return false;
    const std::string_view inside = path.substr(place.size());
    return inside.back() != '/' && inside.front() != '/' && !HasStep(inside, "..") &&
           inside.find("//") == inside.npos;
  });
}

}  // namespace

Result<std::vector<schema::SourceFile>> ReadArtefacts(std::string_view answer, bool cut,
                                                      const std::vector<std::string>& paths) {
  const auto fail = [](std::string text) {
    return Fail(ErrorCode::kInvalidArgument, "the compiler left no program: " + std::move(text));
  };
  if (cut) return fail("too much");
  if (answer.empty()) return fail("no answer");
  const auto kind = static_cast<AnswerKind>(answer[0]);
  answer.remove_prefix(1);
  if (kind == AnswerKind::kNoArtefacts) {
    return fail(schema::ToValidUtf8(std::string(answer.substr(0, kMaxProblemBytes))));
  }
  std::vector<JobFile> files;
  if (kind != AnswerKind::kArtefacts || !DecodeFiles(answer, kMaxArtefactFiles, &files)) {
    return fail("malformed, or too many files");
  }
  if (files.empty()) return fail("no files");
  std::vector<schema::SourceFile> artefacts;
  std::set<std::string_view> seen;
  std::size_t bytes = 0;
  for (const JobFile& file : files) {
    bytes += file.content.size();
    if (bytes > kMaxArtefactBytes) return fail("too large");
    if (!Wanted(file.path, paths) || !seen.insert(file.path).second) {
      return fail("files in the wrong place");
    }
    artefacts.push_back({std::string(file.path), std::string(file.content), file.executable});
  }
  return artefacts;
}

bool FitsIntoSandbox(const schema::Source& program) {
  constexpr std::size_t kFileBytes = 16;  // of a file beyond its texts; job_wire.cc writes 12
  std::size_t bytes = program.code.size();
  for (const schema::SourceFile& file : program.files) {
    bytes += kFileBytes + file.path.size() + file.content.size();
  }
  return bytes <= kMaxProgramBytes;
}

}  // namespace forkbox::sandbox
