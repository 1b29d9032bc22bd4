#include "runner/sandbox/vm/agent_protocol.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "runner/sandbox/answer.h"
#include "runner/sandbox/wire.h"
#include "schema/json.h"
#include "schema/utf8.h"

namespace forkbox::sandbox::vm {
namespace {

using schema::EventKind;
using schema::Reason;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kNumberBytes = sizeof(std::uint32_t);
constexpr std::size_t kHeaderBytes = 2 * kNumberBytes;  // the size, which counts the kind, and that

constexpr std::size_t kMaxLanguagesBytes = 256U << 10;
constexpr std::size_t kMaxStateBytes = 64;
constexpr std::size_t kMaxLanguages = 256;
constexpr std::size_t kMaxWords = 64;  // aliases or extensions of a language

constexpr std::uint32_t kStdoutStream = 1;
constexpr std::uint32_t kStderrStream = 2;

// Nothing that is timed here takes longer; beyond it a clock was not read but made up.
constexpr microseconds kLongestTime = std::chrono::hours(24);
// As many values as fit: every one takes at least a character and a comma.
constexpr schema::JsonLimits kValueLimits{
    .max_depth = kMaxValueDepth, .max_values = kMaxValueBytes / 2 + 1, .max_bytes = kMaxValueBytes};
// signal(7): the last real-time signal.
constexpr std::uint32_t kMaxSignal = 64;

// The largest body of a kind for whoever reads that way; nullopt for a kind that never comes.
std::optional<std::size_t> MostOf(Reads reads, std::uint32_t kind) {
  const bool jobs = reads == Reads::kJobs;
  switch (static_cast<FrameKind>(kind)) {
    case FrameKind::kJob:
      return jobs ? std::optional(kMaxJobBytes) : std::nullopt;
    case FrameKind::kDescribe:
      return jobs ? std::optional(kNumberBytes + sizeof(std::int64_t) + kSeedBytes) : std::nullopt;
    case FrameKind::kReady:
      return jobs ? std::nullopt : std::optional(kNumberBytes);
    case FrameKind::kFailed:
      return jobs ? std::nullopt : std::optional(kNumberBytes + kMaxReasonBytes);
    case FrameKind::kLanguages:
      return jobs ? std::nullopt : std::optional(kMaxLanguagesBytes);
    case FrameKind::kOutput:
      return jobs ? std::nullopt : std::optional(2 * kNumberBytes + kMaxOutputPiece);
    case FrameKind::kState:
      return jobs ? std::nullopt : std::optional(kNumberBytes + kMaxStateBytes);
    case FrameKind::kEnd:
      return jobs ? std::nullopt : std::optional(kMaxAnswerBytes);
  }
  return std::nullopt;
}

std::string Framed(FrameKind kind, const WireWriter& body) {
  WireWriter frame;
  frame.U32(static_cast<std::uint32_t>(kNumberBytes + body.bytes().size()));
  frame.U32(static_cast<std::uint32_t>(kind));
  return frame.Take() + body.bytes();
}

auto Malformed(std::string_view what) {
  return Fail(ErrorCode::kInvalidArgument, "malformed " + std::string(what));
}

// A flag is 0 or 1: anything else was not written by us.
bool ReadFlag(WireReader& in, bool* flag) {
  const std::uint32_t value = in.U32();
  *flag = value == 1;
  return in.ok() && value <= 1;
}

void WriteOptional(WireWriter& out, const std::optional<int>& number) {
  out.U32(number ? 1 : 0);
  out.U32(number ? static_cast<std::uint32_t>(*number) : 0);
}

// Between `least` and `most`, where there is one.
bool ReadOptional(WireReader& in, std::uint32_t least, std::uint32_t most,
                  std::optional<int>* number) {
  bool present = false;
  if (!ReadFlag(in, &present)) return false;
  const std::uint32_t value = in.U32();
  if (!present) return in.ok() && value == 0;
  *number = static_cast<int>(value);
  return in.ok() && value >= least && value <= most;
}

template <class Unit>
void WriteTime(WireWriter& out, Unit time) {
  out.U64(static_cast<std::uint64_t>(std::max<std::int64_t>(0, time.count())));
}

template <class Unit>
bool ReadTime(WireReader& in, Unit* time) {
  const std::uint64_t count = in.U64();
  *time = Unit(static_cast<std::int64_t>(count));
  return in.ok() && count <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

void WriteLimits(WireWriter& out, const schema::Limits& limits) {
  WriteTime(out, limits.wall);
  WriteTime(out, limits.cpu);
  out.U64(limits.memory_bytes);
  out.U32(limits.pids);
  out.U64(limits.disk_bytes);
  out.U64(limits.output_bytes);
}

bool ReadLimits(WireReader& in, schema::Limits* limits) {
  const bool times = ReadTime(in, &limits->wall) && ReadTime(in, &limits->cpu);
  limits->memory_bytes = in.U64();
  limits->pids = in.U32();
  limits->disk_bytes = in.U64();
  limits->output_bytes = in.U64();
  return times && in.ok();
}

void WriteWords(WireWriter& out, const std::vector<std::string>& words) {
  out.U32(static_cast<std::uint32_t>(words.size()));
  for (const std::string& word : words) out.Text(word);
}

bool ReadWords(WireReader& in, std::size_t most, std::vector<std::string>* words) {
  const std::uint32_t count = in.Count(kNumberBytes);
  if (count > most) return false;
  for (std::uint32_t i = 0; i < count; ++i) words->emplace_back(in.Text());
  return in.ok();
}

// The version comes first, whatever follows it.
void WriteAwakening(WireWriter& out, const Awakening& awakening) {
  out.U32(kAgentVersion);
  out.U64(static_cast<std::uint64_t>(awakening.clock_unix_ns));
  for (std::size_t at = 0; at < kSeedBytes; at += sizeof(std::uint64_t)) {
    std::uint64_t part = 0;
    std::memcpy(&part, awakening.seed.data() + at, sizeof part);
    out.U64(part);
  }
}

Result<void> ReadVersion(WireReader& in) {
  const std::uint32_t version = in.U32();
  if (!in.ok()) return Malformed("version");
  if (version == kAgentVersion) return {};
  return Fail(ErrorCode::kInvalidArgument, "the other end speaks version " +
                                               std::to_string(version) + ", this one " +
                                               std::to_string(kAgentVersion));
}

Result<Awakening> ReadAwakening(WireReader& in) {
  if (auto version = ReadVersion(in); !version) return Fail(version.error());
  Awakening awakening;
  awakening.clock_unix_ns = static_cast<std::int64_t>(in.U64());
  for (std::size_t at = 0; at < kSeedBytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t part = in.U64();
    std::memcpy(awakening.seed.data() + at, &part, sizeof part);
  }
  if (!in.ok() || awakening.clock_unix_ns < 0) return Malformed("awakening");
  return awakening;
}

void WriteSource(WireWriter& out, const schema::Source& source) {
  out.U32(static_cast<std::uint32_t>(source.entry));
  out.Text(source.code);
  out.U32(static_cast<std::uint32_t>(source.files.size()));
  for (const schema::SourceFile& file : source.files) {
    out.Text(file.path);
    out.Text(file.content);
    out.U32(file.executable ? 1 : 0);
  }
  out.Text(source.stdin_data);
  WriteWords(out, source.args);
  out.U32(static_cast<std::uint32_t>(source.env.size()));
  for (const auto& [name, value] : source.env) {
    out.Text(name);
    out.Text(value);
  }
}

bool ReadSource(WireReader& in, schema::Source* source) {
  const std::uint32_t entry = in.U32();
  if (entry > static_cast<std::uint32_t>(schema::EntryKind::kCell)) return false;
  source->entry = static_cast<schema::EntryKind>(entry);
  source->code = in.Text();
  for (std::uint32_t n = in.Count(3 * kNumberBytes); n > 0 && in.ok(); --n) {
    schema::SourceFile& file = source->files.emplace_back();
    file.path = in.Text();
    file.content = in.Text();
    if (!ReadFlag(in, &file.executable)) return false;
  }
  source->stdin_data = in.Text();
  // However many: what the frame holds, it holds.
  if (!ReadWords(in, std::numeric_limits<std::size_t>::max(), &source->args)) return false;
  for (std::uint32_t n = in.Count(2 * kNumberBytes); n > 0 && in.ok(); --n) {
    std::string name(in.Text());
    // As a map has them: in order, and each once.
    if (!source->env.empty() && source->env.rbegin()->first >= name) return false;
    source->env.emplace_hint(source->env.end(), std::move(name), in.Text());
  }
  return in.ok();
}

void WriteLanguage(WireWriter& out, const LanguageStatus& language) {
  out.Text(language.id);
  WriteWords(out, language.aliases);
  out.Text(language.name);
  out.Text(language.version);
  out.U32(language.ready ? 1 : 0);
  out.Text(language.reason);
  out.Text(language.file_name);
  WriteLimits(out, language.default_limits);
  out.U32(static_cast<std::uint32_t>(language.execution_model));
  WriteWords(out, language.extensions);
  out.U32(language.functions ? 1 : 0);
}

bool ReadLanguage(WireReader& in, LanguageStatus* language) {
  language->id = in.Text();
  if (!ReadWords(in, kMaxWords, &language->aliases)) return false;
  language->name = in.Text();
  language->version = in.Text();
  if (!ReadFlag(in, &language->ready)) return false;
  language->reason = in.Text();
  language->file_name = in.Text();
  if (!ReadLimits(in, &language->default_limits)) return false;
  const std::uint32_t model = in.U32();
  if (model > static_cast<std::uint32_t>(languages::ExecutionModel::kCompiled)) return false;
  language->execution_model = static_cast<languages::ExecutionModel>(model);
  if (!ReadWords(in, kMaxWords, &language->extensions)) return false;
  if (!ReadFlag(in, &language->functions)) return false;
  for (const std::string* text : {&language->id, &language->name, &language->version,
                                  &language->reason, &language->file_name}) {
    if (!schema::IsValidUtf8(*text)) return false;
  }
  return in.ok() && !language->id.empty();
}

// At most `most` bytes, and no half of a character in the end.
std::string_view Head(std::string_view text, std::size_t most) {
  text = text.substr(0, most);
  return text.substr(0, text.size() - schema::IncompleteUtf8Suffix(text));
}

// How a program can end. Time is watched from outside, where runs are cancelled too.
bool IsProgramsEnd(const End& end) {
  switch (end.reason) {
    case Reason::kExited:
      return end.exit_code && !end.signal;
    case Reason::kSignalled:
      return end.signal && !end.exit_code;
    case Reason::kOutOfMemory:
      return !(end.signal && end.exit_code);
    case Reason::kCompileFailed:
      return !end.signal;
    case Reason::kSandboxFailed:
      return !end.exit_code && !end.signal;
    case Reason::kWallTimeout:
    case Reason::kCpuTimeout:
    case Reason::kCancelled:
    case Reason::kQueueDeadline:
    case Reason::kRunnerLost:
      return false;
  }
  return false;
}

// A body that is one text.
Result<std::string> TextBody(std::string_view body, std::size_t most, std::string_view what) {
  WireReader in(body);
  std::string text(in.Text());
  if (!in.AtEnd() || text.size() > most || !schema::IsValidUtf8(text)) return Malformed(what);
  return text;
}

}  // namespace

std::string EncodeJob(const Job& job) {
  WireWriter body;
  WriteAwakening(body, job.awakening);
  body.Text(job.language);
  WriteLimits(body, job.limits);
  WriteSource(body, job.source);
  return Framed(FrameKind::kJob, body);
}

std::string EncodeDescribe(const Awakening& awakening) {
  WireWriter body;
  WriteAwakening(body, awakening);
  return Framed(FrameKind::kDescribe, body);
}

std::string EncodeReady() {
  WireWriter body;
  body.U32(kAgentVersion);
  return Framed(FrameKind::kReady, body);
}

std::string EncodeFailed(std::string_view why) {
  WireWriter body;
  const std::string text = schema::ToValidUtf8(std::string(why));
  body.Text(Head(text, kMaxReasonBytes));
  return Framed(FrameKind::kFailed, body);
}

std::string EncodeLanguages(const Description& description) {
  WireWriter body;
  for (const std::uint64_t number : description.drawn) body.U64(number);
  body.U32(static_cast<std::uint32_t>(description.languages.size()));
  for (const LanguageStatus& language : description.languages) WriteLanguage(body, language);
  return Framed(FrameKind::kLanguages, body);
}

std::string EncodeOutput(EventKind stream, std::string_view piece) {
  WireWriter body;
  body.U32(stream == EventKind::kStderr ? kStderrStream : kStdoutStream);
  body.Text(piece);
  return Framed(FrameKind::kOutput, body);
}

std::string EncodeState(std::string_view state) {
  WireWriter body;
  body.Text(state);
  return Framed(FrameKind::kState, body);
}

std::string EncodeEnd(const End& end) {
  WireWriter body;
  body.U32(static_cast<std::uint32_t>(end.reason));
  WriteOptional(body, end.exit_code);
  WriteOptional(body, end.signal);
  body.U32(end.stdout_truncated ? 1 : 0);
  body.U32(end.stderr_truncated ? 1 : 0);
  WriteTime(body, end.compile);
  const std::string message = schema::ToValidUtf8(end.message);
  body.Text(Head(message, kMaxReasonBytes));
  body.U32(end.value_json ? 1 : 0);
  body.Text(end.value_json.value_or(""));
  // The one that may be too long has what the others leave.
  const std::size_t left = kMaxAnswerBytes - std::min(kMaxAnswerBytes, body.bytes().size());
  body.Text(Head(end.compile_output, left - std::min(left, kNumberBytes)));
  return Framed(FrameKind::kEnd, body);
}

Result<Job> DecodeJob(std::string_view body) {
  WireReader in(body);
  auto awakening = ReadAwakening(in);
  if (!awakening) return Fail(awakening.error());
  Job job;
  job.awakening = *awakening;
  job.language = in.Text();
  if (!ReadLimits(in, &job.limits)) return Malformed("limits of a job");
  if (!ReadSource(in, &job.source) || !in.AtEnd()) return Malformed("source of a job");
  return job;
}

Result<Awakening> DecodeDescribe(std::string_view body) {
  WireReader in(body);
  auto awakening = ReadAwakening(in);
  if (awakening && !in.AtEnd()) return Malformed("question");
  return awakening;
}

Result<void> DecodeReady(std::string_view body) {
  WireReader in(body);
  auto version = ReadVersion(in);
  if (version && !in.AtEnd()) return Malformed("readiness");
  return version;
}

Result<std::string> DecodeFailed(std::string_view body) {
  return TextBody(body, kMaxReasonBytes, "failure");
}

Result<Description> DecodeLanguages(std::string_view body) {
  WireReader in(body);
  Description description;
  for (std::uint64_t& number : description.drawn) number = in.U64();
  // The numbers of a language take more than this: no matter, it bounds what is reserved.
  const std::uint32_t count = in.Count(kNumberBytes);
  if (!in.ok() || count > kMaxLanguages) return Malformed("languages");
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!ReadLanguage(in, &description.languages.emplace_back())) return Malformed("language");
  }
  if (!in.AtEnd()) return Malformed("languages");
  return description;
}

Result<Output> DecodeOutput(std::string_view body) {
  WireReader in(body);
  const std::uint32_t stream = in.U32();
  Output output;
  output.stream = stream == kStderrStream ? EventKind::kStderr : EventKind::kStdout;
  output.piece = in.Text();
  if (!in.AtEnd() || (stream != kStdoutStream && stream != kStderrStream) ||
      output.piece.size() > kMaxOutputPiece) {
    return Malformed("output");
  }
  return output;
}

Result<std::string> DecodeState(std::string_view body) {
  auto state = TextBody(body, kMaxStateBytes, "state");
  // It goes on to whoever watches the execution.
  if (state && *state != "compiling" && *state != "running") return Malformed("state");
  return state;
}

Result<End> DecodeEnd(std::string_view body) {
  WireReader in(body);
  End end;
  const std::uint32_t reason = in.U32();
  if (reason > static_cast<std::uint32_t>(Reason::kRunnerLost)) return Malformed("reason");
  end.reason = static_cast<Reason>(reason);
  if (!ReadOptional(in, 0, 255, &end.exit_code)) return Malformed("exit code");
  if (!ReadOptional(in, 1, kMaxSignal, &end.signal)) return Malformed("signal");
  if (!ReadFlag(in, &end.stdout_truncated) || !ReadFlag(in, &end.stderr_truncated)) {
    return Malformed("end");
  }
  if (!ReadTime(in, &end.compile) || end.compile > kLongestTime) return Malformed("time");
  end.message = in.Text();
  if (end.message.size() > kMaxReasonBytes) return Malformed("message");
  bool has_value = false;
  if (!ReadFlag(in, &has_value)) return Malformed("value");
  const std::string_view value = in.Text();
  end.compile_output = in.Text();
  if (!in.AtEnd() || body.size() > kMaxAnswerBytes || !schema::IsValidUtf8(end.message) ||
      !schema::IsValidUtf8(end.compile_output) || !IsProgramsEnd(end)) {
    return Malformed("end");
  }
  if (!has_value) {
    if (!value.empty()) return Malformed("value");
    return end;
  }
  if (auto parsed = schema::ParseJson(value, kValueLimits); !parsed) {
    return Fail(ErrorCode::kInvalidArgument, "the value is not JSON: " + parsed.error().message);
  }
  end.value_json = value;
  return end;
}

Result<void> FrameReader::Feed(std::string_view bytes) {
  if (!failed_) {
    held_.erase(0, at_);
    checked_ -= at_;
    at_ = 0;
    held_.append(bytes);
  }
  // Of each header that has come, before what it announces has.
  while (!failed_ && checked_ <= held_.size() && held_.size() - checked_ >= kHeaderBytes) {
    WireReader in(std::string_view(held_).substr(checked_));
    const std::size_t size = in.U32();
    const auto most = MostOf(reads_, in.U32());
    failed_ = !most || size < kNumberBytes || size - kNumberBytes > *most;
    checked_ += kNumberBytes + size;
  }
  if (!failed_) return {};
  held_ = std::string();
  at_ = 0;
  return Fail(ErrorCode::kInvalidArgument, "what came is no frame of the other end");
}

std::optional<Frame> FrameReader::Next() {
  if (failed_ || held_.size() - at_ < kHeaderBytes) return std::nullopt;
  WireReader in(std::string_view(held_).substr(at_));
  const std::size_t size = in.U32();
  if (held_.size() - at_ < kNumberBytes + size) return std::nullopt;
  Frame frame;
  frame.kind = static_cast<FrameKind>(in.U32());
  frame.body = held_.substr(at_ + kHeaderBytes, size - kNumberBytes);
  at_ += kNumberBytes + size;
  if (at_ == held_.size()) {  // nothing is held any more: give the memory of a large one back
    held_ = std::string();
    checked_ -= at_;
    at_ = 0;
  }
  return frame;
}

}  // namespace forkbox::sandbox::vm
