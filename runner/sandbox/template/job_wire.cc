#include "runner/sandbox/template/job_wire.h"

#include <cstring>
#include <limits>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

// A path's and a content's length and the flag.
constexpr std::size_t kLeastFileBytes = 12;

void WriteFiles(WireWriter& out, const std::vector<JobFile>& files) {
  out.U32(static_cast<std::uint32_t>(files.size()));
  for (const auto& file : files) {
    out.Text(file.path);
    out.U32(file.executable ? 1 : 0);
    out.Text(file.content);
  }
}

// False when there are more than `most`.
bool ReadFiles(WireReader& in, std::size_t most, std::vector<JobFile>* files) {
  std::uint32_t n = in.Count(kLeastFileBytes);
  if (n > most) return false;
  for (; n > 0; --n) {
    JobFile file;
    file.path = in.Text();
    file.executable = in.U32() != 0;
    file.content = in.Text();
    files->push_back(file);
  }
  return true;
}

}  // namespace

std::string EncodeJob(const ChildJob& job, const std::vector<JobFile>& files) {
  WireWriter body;
  std::uint64_t size = 0;
  body.U64(size);  // known in the end
  body.U32(static_cast<std::uint32_t>(job.entry));
  body.U32(job.reseed ? 1 : 0);
  body.Text(job.file_name);
  body.Text(job.code);
  body.U32(static_cast<std::uint32_t>(job.args.size()));
  for (const auto& arg : job.args) body.Text(arg);
  body.U32(static_cast<std::uint32_t>(job.command.size()));
  for (const auto& word : job.command) body.Text(word);
  body.U32(static_cast<std::uint32_t>(job.env.size()));
  for (const auto& [name, value] : job.env) {
    body.Text(name);
    body.Text(value);
  }
  body.U32(static_cast<std::uint32_t>(job.artefacts.size()));
  for (const auto& path : job.artefacts) body.Text(path);
  body.Text(job.cwd);
  WriteFiles(body, files);
  std::string frame = body.Take();
  size = frame.size() - sizeof size;
  std::memcpy(frame.data(), &size, sizeof size);
  return frame;
}

bool DecodeJob(std::string_view body, ChildJob* job, std::vector<JobFile>* files) {
  WireReader in(body);
  const std::uint32_t entry = in.U32();
  if (entry > static_cast<std::uint32_t>(ChildJob::Entry::kSession)) return false;
  job->entry = static_cast<ChildJob::Entry>(entry);
  const std::uint32_t reseed = in.U32();
  if (reseed > 1) return false;
  job->reseed = reseed == 1;
  job->file_name = in.Text();
  job->code = in.Text();
  for (std::uint32_t n = in.Count(4); n > 0; --n) job->args.emplace_back(in.Text());
  for (std::uint32_t n = in.Count(4); n > 0; --n) job->command.emplace_back(in.Text());
  for (std::uint32_t n = in.Count(8); n > 0; --n) {
    std::string name(in.Text());
    job->env.emplace_back(std::move(name), std::string(in.Text()));
  }
  for (std::uint32_t n = in.Count(4); n > 0; --n) job->artefacts.emplace_back(in.Text());
  job->cwd = in.Text();
  // However many: what the frame holds, it holds.
  return ReadFiles(in, std::numeric_limits<std::size_t>::max(), files) && in.AtEnd();
}

std::string Announcement(int exit_code) {
  return {static_cast<char>(AnswerKind::kExit), static_cast<char>(exit_code & 0xff)};
}

std::optional<int> ReadAnnouncement(std::string_view text) {
  if (text.size() != kAnnouncementBytes || text[0] != static_cast<char>(AnswerKind::kExit)) {
    return std::nullopt;
  }
  return static_cast<unsigned char>(text[1]);
}

std::string EncodeFiles(const std::vector<JobFile>& files) {
  WireWriter out;
  WriteFiles(out, files);
  return out.bytes();
}

bool DecodeFiles(std::string_view text, std::size_t most, std::vector<JobFile>* files) {
  WireReader in(text);
  return ReadFiles(in, most, files) && in.AtEnd();
}

}  // namespace forkbox::sandbox
