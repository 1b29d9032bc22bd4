#include "runner/execd/agent/agent_wire.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runner/sandbox/wire.h"

namespace forkbox::execd {
namespace {

using sandbox::WireReader;
using sandbox::WireWriter;

constexpr std::size_t kMaxMessageBytes = 8U << 10;
// Deep trees are walked below a path of full length.
constexpr std::size_t kMaxEntryPathBytes = kMaxPathBytes + 256 * (kMaxWalkDepth + 1);
constexpr std::size_t kMaxAccountBytes = 256;

// The errors an agent may speak of, and their numbers.
constexpr std::array<std::pair<std::uint32_t, ErrorCode>, 5> kCodes{
    {{1, ErrorCode::kInvalidArgument},
     {2, ErrorCode::kNotFound},
     {3, ErrorCode::kConflict},
     {4, ErrorCode::kUnavailable},
     {5, ErrorCode::kInternal}}};

}  // namespace

std::string EncodeRequest(const AgentRequest& request) {
  WireWriter writer;
  writer.U32(static_cast<std::uint32_t>(request.operation));
  writer.Text(request.path);
  writer.Text(request.other);
  writer.Text(request.new_text);
  writer.Text(request.owner);
  writer.Text(request.group);
  writer.U32(request.mode);
  writer.U32(request.number);
  writer.U32(static_cast<std::uint32_t>(request.pid));
  writer.U32(request.whole_group ? 1 : 0);
  return writer.Take();
}

bool DecodeRequest(std::string_view body, AgentRequest* request) {
  WireReader reader(body);
  const std::uint32_t operation = reader.U32();
  request->path = reader.Text();
  request->other = reader.Text();
  request->new_text = reader.Text();
  request->owner = reader.Text();
  request->group = reader.Text();
  request->mode = reader.U32();
  request->number = reader.U32();
  request->pid = static_cast<std::int32_t>(reader.U32());
  const std::uint32_t whole_group = reader.U32();
  request->whole_group = whole_group == 1;
  request->operation = static_cast<Operation>(operation);
  return reader.AtEnd() && whole_group <= 1 &&
         operation >= static_cast<std::uint32_t>(Operation::kInfo) &&
         operation <= static_cast<std::uint32_t>(Operation::kConnect);
}

std::string EncodeText(std::string_view text) {
  WireWriter writer;
  writer.Text(text);
  return writer.Take();
}

bool DecodeText(std::string_view body, std::string* text) {
  WireReader reader(body);
  *text = reader.Text();
  return reader.AtEnd();
}

std::string EncodeAnswer(const AgentAnswer& answer) {
  WireWriter writer;
  writer.U64(answer.number);
  writer.Text(answer.text);
  return writer.Take();
}

bool DecodeAnswer(std::string_view body, AgentAnswer* answer) {
  WireReader reader(body);
  answer->number = reader.U64();
  answer->text = reader.Text();
  return reader.AtEnd();
}

std::string EncodeFailure(const Error& error) {
  std::uint32_t number = 5;
  for (const auto& [value, code] : kCodes) {
    if (code == error.code) number = value;
  }
  WireWriter writer;
  writer.U32(number);
  writer.Text(std::string_view(error.message).substr(0, kMaxMessageBytes));
  return writer.Take();
}

bool DecodeFailure(std::string_view body, Error* error) {
  WireReader reader(body);
  const std::uint32_t number = reader.U32();
  const std::string_view message = reader.Text();
  const auto* known = std::find_if(kCodes.begin(), kCodes.end(),
                                   [&](const auto& entry) { return entry.first == number; });
  if (!reader.AtEnd() || known == kCodes.end() || message.size() > kMaxMessageBytes) return false;
  error->code = known->second;
  error->message = message;
  return true;
}

void AppendEntry(const FileInfo& info, std::string* body) {
  WireWriter writer;
  writer.U32(static_cast<std::uint32_t>(info.type));
  writer.U32(info.mode);
  writer.U64(info.size);
  writer.U64(static_cast<std::uint64_t>(info.modified_unix_ns));
  writer.U64(static_cast<std::uint64_t>(info.created_unix_ns));
  writer.Text(info.owner);
  writer.Text(info.group);
  writer.Text(info.path);
  body->append(writer.bytes());
}

bool DecodeEntries(std::string_view body, std::size_t limit, std::vector<FileInfo>* entries) {
  WireReader reader(body);
  while (!reader.AtEnd()) {
    FileInfo info;
    const std::uint32_t type = reader.U32();
    info.type = static_cast<FileInfo::Type>(type);
    info.mode = reader.U32();
    info.size = reader.U64();
    info.modified_unix_ns = static_cast<std::int64_t>(reader.U64());
    info.created_unix_ns = static_cast<std::int64_t>(reader.U64());
    info.owner = reader.Text();
    info.group = reader.Text();
    info.path = reader.Text();
    if (!reader.ok() || entries->size() >= limit ||
        type > static_cast<std::uint32_t>(FileInfo::Type::kOther) || info.mode > 0777 ||
        info.owner.size() > kMaxAccountBytes || info.group.size() > kMaxAccountBytes ||
        info.path.empty() || info.path.front() != '/' || info.path.size() > kMaxEntryPathBytes) {
      return false;
    }
    entries->push_back(std::move(info));
  }
  return true;
}

}  // namespace forkbox::execd
