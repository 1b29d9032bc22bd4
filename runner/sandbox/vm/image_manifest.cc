#include "runner/sandbox/vm/image_manifest.h"

#include <algorithm>

#include "runner/sandbox/vm/vm_image.h"
#include "schema/json.h"

namespace forkbox::sandbox::vm {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr std::size_t kMaxText = 256;

tl::unexpected<Error> Wrong(const std::string& member, const std::string& must) {
  return Fail(ErrorCode::kInvalidArgument, member + ": must be " + must);
}

bool IsText(const json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return !text.empty() && text.size() <= kMaxText &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsHash(const json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Result<std::vector<ImageManifest::File>> Files(const json& listed) {
  static const char* const kNames[] = {kBaseDisk, kInitrdFile, kRuntimeDisk, kKernelFile};
  if (!listed.is_object() || listed.size() != std::size(kNames)) {
    return Wrong("files", "an object with the image's four files");
  }
  std::vector<ImageManifest::File> files;
  for (const char* name : kNames) {
    const auto found = listed.find(name);
    const std::string member = std::string("files.") + name;
    if (found == listed.end() || !found->is_object() || found->size() != 2) {
      return Wrong(member, "an object with bytes and sha256");
    }
    const auto bytes = found->find("bytes");
    const auto sha256 = found->find("sha256");
    if (bytes == found->end() || !bytes->is_number_unsigned()) {
      return Wrong(member + ".bytes", "a number of bytes");
    }
    if (sha256 == found->end() || !IsHash(*sha256)) {
      return Wrong(member + ".sha256", "64 hexadecimal digits");
    }
    files.push_back({name, bytes->get<std::uint64_t>(), sha256->get<std::string>()});
  }
  return files;
}

}  // namespace

std::string ImageManifest::Encode() const {
  json listed = json::object();
  for (const File& file : files) {
    listed[file.name] = {{"bytes", file.bytes}, {"sha256", file.sha256}};
  }
  const json document = {{"format", kFormat},   {"agent_version", agent_version},
                         {"base", base},        {"kernel", kernel},
                         {"runtime", runtime},  {"files", listed},
                         {"packages", packages}};
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ImageManifest> ImageManifest::Parse(std::string_view text) {
  auto parsed = schema::ParseJson(
      text, {.max_depth = 4, .max_values = 10'000, .max_bytes = kMaxManifestBytes});
  if (!parsed) return Fail(parsed.error());
  const json& document = *parsed;
  if (!document.is_object()) return Wrong("the file", "a JSON object");
  static const char* const kMembers[] = {"agent_version", "base",     "files",  "format",
                                         "kernel",        "packages", "runtime"};
  // First: of another format nothing else is known.
  if (document.value("format", json()) != kFormat) return Wrong("format", std::to_string(kFormat));
  for (const char* member : kMembers) {
    if (!document.contains(member)) return Wrong(member, "there");
  }
  for (const auto& [member, value] : document.items()) {
    if (std::find(std::begin(kMembers), std::end(kMembers), member) == std::end(kMembers)) {
      return Fail(ErrorCode::kInvalidArgument, "it has a member that is not known");
    }
  }
  ImageManifest manifest;
  const json& version = document["agent_version"];
  if (!version.is_number_unsigned() || version.get<std::uint64_t>() > UINT32_MAX) {
    return Wrong("agent_version", "a version number");
  }
  manifest.agent_version = version.get<std::uint32_t>();
  if (!IsHash(document["base"])) return Wrong("base", "64 hexadecimal digits");
  if (!IsHash(document["runtime"])) return Wrong("runtime", "64 hexadecimal digits");
  if (!IsText(document["kernel"])) return Wrong("kernel", "the name of a release");
  manifest.base = document["base"].get<std::string>();
  manifest.runtime = document["runtime"].get<std::string>();
  manifest.kernel = document["kernel"].get<std::string>();
  auto files = Files(document["files"]);
  if (!files) return Fail(files.error());
  manifest.files = std::move(*files);
  const json& packages = document["packages"];
  if (!packages.is_object()) return Wrong("packages", "an object of versions");
  for (const auto& [name, version_of] : packages.items()) {
    if (!IsText(json(name)) || !IsText(version_of)) {
      return Wrong("packages", "an object of versions");
    }
    manifest.packages[name] = version_of.get<std::string>();
  }
  return manifest;
}

}  // namespace forkbox::sandbox::vm
