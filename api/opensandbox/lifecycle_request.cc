#include "api/opensandbox/lifecycle_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "api/opensandbox/lifecycle_labels.h"
#include "runner/execd/commands_program.h"
#include "runner/sandboxes/entrypoint.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
using std::chrono::seconds;
template <class T>
using Parsed = tl::expected<T, LifecycleProblem>;

constexpr schema::JsonLimits kLimits{
    .max_depth = 16, .max_values = 10'000, .max_bytes = kMaxSandboxBody};
constexpr std::uint64_t kMiB = 1ULL << 20;
constexpr std::uint64_t kLeastMemory = 16 * kMiB;

#if defined(__x86_64__)
constexpr std::array<std::string_view, 2> kArchitectures{"amd64", "x86_64"};
#elif defined(__aarch64__)
constexpr std::array<std::string_view, 2> kArchitectures{"arm64", "aarch64"};
#else
constexpr std::array<std::string_view, 2> kArchitectures{"native", "native"};
#endif

// Null when it is not there, or null.
const json* Member(const json& body, const char* name) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? nullptr : &*found;
}

std::string TextOr(const json& object, const char* name, std::string otherwise) {
  const json* text = Member(object, name);
  return text != nullptr && text->is_string() ? text->get<std::string>() : std::move(otherwise);
}

tl::unexpected<LifecycleProblem> Bad(std::string message) {
  return tl::unexpected(BadParameter(std::move(message)));
}

// What there is no way to have here.
std::optional<LifecycleProblem> Unsupported(const json& body) {
  if (Member(body, "snapshotId") != nullptr) {
    return NotSupported("snapshotId: there are no snapshots here");
  }
  const json* extensions = Member(body, "extensions");
  if (extensions != nullptr && Member(*extensions, "poolRef") != nullptr) {
    return NotSupported("extensions.poolRef: there are no pools here");
  }
  const json* volumes = Member(body, "volumes");
  if (volumes != nullptr && !volumes->empty()) {
    return NotSupported("volumes: nothing of the host can be mounted here");
  }
  const json* secure = Member(body, "secureAccess");
  if (secure != nullptr && secure->get<bool>()) {
    return NotSupported(
        "secureAccess: there is no gateway; every sandbox has a token of its own anyway");
  }
  const json* credentials = Member(body, "credentialProxy");
  const json* enabled = credentials == nullptr ? nullptr : Member(*credentials, "enabled");
  if (enabled != nullptr && !(enabled->is_boolean() && !enabled->get<bool>())) {
    return NotSupported("credentialProxy: there is no network to send credentials to");
  }
  if (const json* policy = Member(body, "networkPolicy")) {
    bool allows = TextOr(*policy, "defaultAction", "deny") != "deny";
    if (const json* egress = Member(*policy, "egress")) {
      if (!egress->is_array()) return Unprocessable("networkPolicy.egress: must be an array");
      allows = allows || std::ranges::any_of(*egress, [](const json& rule) {
                 return !rule.is_object() || TextOr(rule, "action", "allow") != "deny";
               });
    }
    if (allows) {
      return NotSupported("networkPolicy: sandboxes have no network; only to deny all is possible");
    }
  }
  return std::nullopt;
}

std::optional<LifecycleProblem> CheckPlatform(const json& body) {
  const json* platform = Member(body, "platform");
  if (platform == nullptr) return std::nullopt;
  if (TextOr(*platform, "os", "linux") != "linux") {
    return BadParameter("platform.os: only linux is available");
  }
  const std::string arch = TextOr(*platform, "arch", std::string(kArchitectures[0]));
  if (std::ranges::find(kArchitectures, arch) == kArchitectures.end()) {
    return BadParameter("platform.arch: only " + std::string(kArchitectures[0]) + " is available");
  }
  return std::nullopt;
}

Parsed<sandbox::BoxLimits> ParseLimits(const json& limits, const SandboxBounds& bounds) {
  sandbox::BoxLimits parsed;
  bool disk_given = false;
  for (const auto& [name, value] : limits.items()) {
    const auto& text = value.get_ref<const std::string&>();
    const std::string field = "resourceLimits." + name.substr(0, 64);
    if (name == "cpu") {
      const auto millis = ParseCpu(text);
      if (!millis) return Bad(field + ": must be cores like \"1\", \"0.5\" or \"500m\", from 10m");
      parsed.cpu_millis = *millis;
    } else if (name == "memory") {
      const auto bytes = ParseBytes(text);
      if (!bytes || *bytes < kLeastMemory) {
        return Bad(field + ": must be a size like \"512Mi\" or \"1Gi\", at least 16Mi");
      }
      if (*bytes > bounds.max_memory_bytes) {
        return Bad(field + ": at most " + std::to_string(bounds.max_memory_bytes / kMiB) +
                   "Mi here (--sandbox-max-memory-mb)");
      }
      parsed.memory_bytes = *bytes;
    } else if (name == "disk" || name == "ephemeral-storage") {
      const auto bytes = ParseBytes(text);
      if (!bytes || *bytes < kMiB) {
        return Bad(field + ": must be a size like \"512Mi\" or \"1Gi\", at least 1Mi");
      }
      parsed.disk_bytes = *bytes;
      disk_given = true;
    } else if (name == "pids") {
      std::uint32_t pids = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pids);
      if (error != std::errc() || end != text.data() + text.size() || pids < 16 || pids > 4096) {
        return Bad(field + ": must be a number from 16 to 4096");
      }
      parsed.pids = pids;
    } else if (name == "gpu" || name.ends_with("/gpu")) {
      if (text != "0") return Bad(field + ": there are none here");
    }
  }
  if (limits.find("memory") == limits.end()) {
    parsed.memory_bytes = std::min(parsed.memory_bytes, bounds.max_memory_bytes);
  }
  // The disk is memory and counts as such.
  if (!disk_given) {
    parsed.disk_bytes = std::min(parsed.memory_bytes / 2, 1024 * kMiB);
  } else if (parsed.disk_bytes > parsed.memory_bytes) {
    return Bad("resourceLimits.disk: must not be more than the memory, of which it is a part");
  }
  return parsed;
}

Parsed<execd::Environment> ParseEnvironment(const json* env) {
  execd::Environment parsed;
  if (env == nullptr) return parsed;
  std::size_t bytes = 0;
  for (const auto& [name, value] : env->items()) {
    if (name.empty() || name.find('=') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return Bad("env: a name must not be empty nor hold '=' or NUL");
    }
    if (value.is_null()) continue;
    const auto& text = value.get_ref<const std::string&>();
    if (text.find('\0') != std::string::npos) return Bad("env: a value must not hold NUL");
    bytes += name.size() + text.size() + 2;
    parsed.emplace(name, text);
  }
  if (bytes > (96U << 10)) return Bad("env: must be at most 96 KiB together");
  return parsed;
}

Parsed<Labels> ParseMetadata(const json* metadata) {
  Labels labels;
  if (metadata == nullptr) return labels;
  for (const auto& [key, value] : metadata->items()) {
    const auto& text = value.get_ref<const std::string&>();
    if (auto problem = LabelProblem(key, text)) {
      return tl::unexpected(LifecycleProblem{.status = 400,
                                             .code = "SANDBOX::INVALID_METADATA_LABEL",
                                             .message = *std::move(problem)});
    }
    labels.emplace_back(key, text);
  }
  return labels;
}

Parsed<std::optional<seconds>> ParseRenewal(const json* extensions, const SandboxBounds& bounds) {
  constexpr const char* kName = "access.renew.extend.seconds";
  const json* value = extensions == nullptr ? nullptr : Member(*extensions, kName);
  if (value == nullptr) return std::optional<seconds>();
  const auto& text = value->get_ref<const std::string&>();
  int count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 300 || count > 86'400) {
    return Bad(std::string("extensions.") + kName + ": must be from 300 to 86400");
  }
  if (count > bounds.max_timeout.count()) {
    return Bad(std::string("extensions.") + kName + ": at most " +
               std::to_string(bounds.max_timeout.count()) +
               " here (--sandbox-max-timeout-seconds)");
  }
  return std::optional<seconds>(count);
}

tl::unexpected<LifecycleProblem> BadEntrypoint(std::string message) {
  return tl::unexpected(LifecycleProblem{
      .status = 400, .code = "DOCKER::INVALID_ENTRYPOINT", .message = std::move(message)});
}

Parsed<std::vector<std::string>> ParseEntrypoint(const json* entrypoint) {
  if (entrypoint == nullptr) return BadEntrypoint("entrypoint: is required with an image");
  std::vector<std::string> words;
  for (const json& word : *entrypoint) {
    const auto& text = word.get_ref<const std::string&>();
    if (text.find('\0') != std::string::npos) return BadEntrypoint("entrypoint: must not hold NUL");
    words.push_back(text);
  }
  if (words.front().empty()) return BadEntrypoint("entrypoint: must begin with a program");
  if (sandboxes::EntrypointCommand(words).size() > execd::kMaxCommandBytes) {
    return BadEntrypoint("entrypoint: must be less than 128 KiB, quoted for a shell");
  }
  return words;
}

// What is shown of it later. Neither the environment nor the registry's password is kept.
std::string Kept(const json& body) {
  json kept{{"image", {{"uri", body["image"]["uri"]}}},
            {"entrypoint", body["entrypoint"]},
            {"resourceLimits", body["resourceLimits"]}};
  if (const json* platform = Member(body, "platform")) {
    kept["platform"] = {{"os", TextOr(*platform, "os", "linux")},
                        {"arch", TextOr(*platform, "arch", std::string(kArchitectures[0]))}};
  }
  return schema::DumpJson(kept);
}

}  // namespace

std::optional<std::uint32_t> ParseCpu(std::string_view text) {
  const bool thousandths = text.ends_with('m');
  if (thousandths) text.remove_suffix(1);
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const double millis = thousandths ? number : number * 1000;
  if (!(millis >= 10) || millis > 1'024'000) return std::nullopt;
  return static_cast<std::uint32_t>(std::lround(millis));
}

std::optional<std::uint64_t> ParseBytes(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 9> kUnits{
      {{"Ki", 1024.0},
       {"Mi", 1024.0 * 1024},
       {"Gi", 1024.0 * 1024 * 1024},
       {"Ti", 1024.0 * 1024 * 1024 * 1024},
       {"k", 1e3},
       {"K", 1e3},
       {"M", 1e6},
       {"G", 1e9},
       {"T", 1e12}}};
  double unit = 1;
  for (const auto& [name, size] : kUnits) {
    if (!text.ends_with(name)) continue;
    text.remove_suffix(name.size());
    unit = size;
    break;
  }
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const double bytes = number * unit;
  if (!(bytes >= 1) || bytes > 1e15) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

tl::expected<sandboxes::SandboxSpec, LifecycleProblem> ParseSandboxRequest(
    std::string_view text, const schema::RequestSchema& schema, const SandboxBounds& bounds) {
  const Result<json> body = schema::ParseJson(text, kLimits);
  if (!body) return tl::unexpected(Unprocessable("body: " + body.error().message));
  if (const Result<void> fits = schema.Validate(*body); !fits) {
    return tl::unexpected(Unprocessable(fits.error().message));
  }
  if (auto problem = Unsupported(*body)) return tl::unexpected(*std::move(problem));
  if (Member(*body, "image") == nullptr) return Bad("image: is required");
  if (auto problem = CheckPlatform(*body)) return tl::unexpected(*std::move(problem));

  sandboxes::SandboxSpec spec;
  auto entrypoint = ParseEntrypoint(Member(*body, "entrypoint"));
  if (!entrypoint) return tl::unexpected(std::move(entrypoint.error()));
  spec.entrypoint = *std::move(entrypoint);
  auto limits = ParseLimits((*body)["resourceLimits"], bounds);
  if (!limits) return tl::unexpected(std::move(limits.error()));
  spec.limits = *limits;
  auto env = ParseEnvironment(Member(*body, "env"));
  if (!env) return tl::unexpected(std::move(env.error()));
  spec.env = *std::move(env);
  auto metadata = ParseMetadata(Member(*body, "metadata"));
  if (!metadata) return tl::unexpected(std::move(metadata.error()));
  spec.metadata = *std::move(metadata);
  auto renewal = ParseRenewal(Member(*body, "extensions"), bounds);
  if (!renewal) return tl::unexpected(std::move(renewal.error()));
  spec.renew_on_access = *renewal;
  if (const json* timeout = Member(*body, "timeout")) {
    const auto wanted = timeout->get<std::int64_t>();
    if (wanted > bounds.max_timeout.count()) {
      return Bad("timeout: at most " + std::to_string(bounds.max_timeout.count()) +
                 " seconds here (--sandbox-max-timeout-seconds)");
    }
    spec.timeout = seconds(wanted);
  }
  spec.request = Kept(*body);
  return spec;
}

}  // namespace forkbox::api
