#include "api/auth/key_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <system_error>
#include <unordered_set>

#include "base/rfc3339.h"
#include "base/unique_fd.h"

namespace forkbox::api {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 4 << 20;  // some 30,000 hashed keys
constexpr std::size_t kMaxKeyBytes = 512;
constexpr std::size_t kMaxTextBytes = 200;
constexpr std::string_view kKeyPrefix = "fb_live_";
constexpr std::size_t kKeyRandomBytes = 24;

// ENOENT is kNotFound; anything else we could not do is kInternal.
tl::unexpected<Error> FailFile(const std::string& what) {
  const int error = errno;
  return Fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kInternal,
              what + ": " + std::system_category().message(error));
}

Result<std::string> ReadAll(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return FailFile("keys file " + path);
  std::string text;
  std::array<char, 16 * 1024> chunk{};
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailFile("keys file " + path);
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxFileBytes) {
      return Fail(ErrorCode::kInvalidArgument, "keys file " + path + " is larger than 4 MiB");
    }
  }
}

// What a client can send after "Bearer " and have arrive unchanged.
bool CanTravel(std::string_view key) {
  if (key.front() == ' ' || key.back() == ' ') return false;
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) return false;
  }
  return true;
}

Result<KeyEntry> ParsePlain(const std::string& key) {
  if (key.empty()) return Fail(ErrorCode::kInvalidArgument, "is an empty string");
  if (key.size() > kMaxKeyBytes) {
    return Fail(ErrorCode::kInvalidArgument, "is longer than 512 bytes");
  }
  if (!CanTravel(key)) {
    return Fail(ErrorCode::kInvalidArgument,
                "has a control character, or a blank at an end: no client could send it");
  }
  KeyEntry entry;
  entry.digest = KeyDigest::Of(key);
  entry.id = entry.digest.ShortId();
  return entry;
}

Result<std::string> OptionalText(const json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end()) return std::string();
  if (!member->is_string() || member->get_ref<const std::string&>().size() > kMaxTextBytes) {
    return Fail(ErrorCode::kInvalidArgument,
                std::string("has a `") + name + "` that is not a short string");
  }
  return member->get<std::string>();
}

Result<KeyEntry> ParseHashed(const json& object) {
  const auto sha256 = object.find("sha256");
  std::optional<KeyDigest> digest;
  if (sha256 != object.end() && sha256->is_string()) {
    digest = KeyDigest::FromHex(sha256->get_ref<const std::string&>());
  }
  if (!digest) {
    return Fail(ErrorCode::kInvalidArgument, "has no `sha256` of 64 hexadecimal digits");
  }
  Result<std::string> label = OptionalText(object, "label");
  if (!label) return Fail(label.error());
  Result<std::string> created_at = OptionalText(object, "created_at");
  if (!created_at) return Fail(created_at.error());
  return KeyEntry{*digest, digest->ShortId(), *std::move(label), *std::move(created_at), true};
}

Result<KeyEntry> ParseEntry(const json& value) {
  if (value.is_string()) return ParsePlain(value.get_ref<const std::string&>());
  if (value.is_object()) return ParseHashed(value);
  return Fail(ErrorCode::kInvalidArgument, "is neither a string nor an object");
}

struct Document {
  json array;
  std::vector<KeyEntry> entries;  // one for each element
};

Result<Document> Parse(const std::string& path, const std::string& text) {
  Document document;
  document.array = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.array.is_array()) {
    return Fail(ErrorCode::kInvalidArgument,
                "keys file " + path + " is not a JSON array of keys ([] switches keys off)");
  }
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < document.array.size(); ++i) {
    const std::string where = "keys file " + path + ": entry " + std::to_string(i + 1) + " ";
    Result<KeyEntry> entry = ParseEntry(document.array[i]);
    if (!entry) return Fail(entry.error().code, where + entry.error().message);
    if (!seen.insert(entry->digest.Hex()).second) {
      return Fail(ErrorCode::kInvalidArgument, where + "repeats an earlier key");
    }
    document.entries.push_back(*std::move(entry));
  }
  return document;
}

Result<void> WriteAll(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return FailFile("write " + path);
    text.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

// A temporary file that is gone unless it was moved into place.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void Keep() { path_.clear(); }

 private:
  std::string path_;
};

// Written beside it and moved over it, so that a reader sees the old file or the new one.
Result<void> Replace(const std::string& path, const json& array) {
  const std::string next = path + ".new";
  UniqueFd file(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return FailFile("create " + next);
  TemporaryFile temporary(next);
  struct stat old {};
  if (::stat(path.c_str(), &old) == 0) {
    // Whoever could read the keys before must be able to afterwards; the owner only root can keep.
    if (::fchown(file.get(), old.st_uid, old.st_gid) != 0 && errno != EPERM) {
      return FailFile("chown " + next);
    }
    if (::fchmod(file.get(), old.st_mode & 07777) != 0) return FailFile("chmod " + next);
  }
  const std::string text = array.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  if (Result<void> written = WriteAll(file.get(), text, next); !written) return written;
  if (::fsync(file.get()) != 0) return FailFile("fsync " + next);
  if (::rename(next.c_str(), path.c_str()) != 0) return FailFile("rename " + next);
  temporary.Keep();
  return {};
}

// Reads, lets `change` alter the array, writes. The lock is on the directory, since the file itself
// is replaced and need not exist.
Result<void> Update(const std::string& path_as_given,
                    const std::function<Result<void>(Document&)>& change) {
  std::error_code ignored;
  fs::path path = fs::weakly_canonical(path_as_given, ignored);  // a link stays one
  if (path.empty()) path = path_as_given;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const UniqueFd lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return FailFile("open " + folder.string());
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return FailFile("lock " + folder.string());
  }
  Result<std::string> text = ReadAll(path);
  if (!text && text.error().code != ErrorCode::kNotFound) return Fail(text.error());
  Result<Document> document = Parse(path, text ? *text : "[]");
  if (!document) return Fail(document.error());
  if (Result<void> changed = change(*document); !changed) return changed;
  if (Result<void> replaced = Replace(path, document->array); !replaced) return replaced;
  if (::fsync(lock.get()) != 0) return FailFile("fsync " + folder.string());
  return {};
}

Result<std::string> NewKey() {
  std::array<std::uint8_t, kKeyRandomBytes> random{};
  if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return FailErrno("getrandom");
  }
  std::string key(kKeyPrefix);
  for (const std::uint8_t byte : random) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    key += kDigits[byte >> 4];
    key += kDigits[byte & 15];
  }
  return key;
}

}  // namespace

std::optional<std::string> FindKeyFile(std::string_view forkbox_keys_file,
                                       std::string_view zeroboot_api_keys_file) {
  if (!forkbox_keys_file.empty()) return std::string(forkbox_keys_file);
  if (!zeroboot_api_keys_file.empty()) return std::string(zeroboot_api_keys_file);
  // Anything but a clear "not there" counts as there: better to fail on it than to ignore it.
  struct stat info {};
  if (::stat("api_keys.json", &info) == 0 || errno != ENOENT) return "api_keys.json";
  return std::nullopt;
}

Result<std::vector<KeyEntry>> LoadKeyFile(const std::string& path) {
  Result<std::string> text = ReadAll(path);
  if (!text) return Fail(text.error());
  Result<Document> document = Parse(path, *text);
  if (!document) return Fail(document.error());
  return std::move(document->entries);
}

Result<CreatedKey> CreateKey(const std::string& path, const std::string& label,
                             const Clock& clock) {
  if (label.size() > kMaxTextBytes) {
    return Fail(ErrorCode::kInvalidArgument, "label is longer than 200 bytes");
  }
  Result<std::string> key = NewKey();
  if (!key) return Fail(key.error());
  KeyEntry entry;
  entry.digest = KeyDigest::Of(*key);
  entry.id = entry.digest.ShortId();
  entry.label = label;
  entry.created_at = Rfc3339Seconds(clock.UnixMillis());
  entry.hashed = true;
  Result<void> updated = Update(path, [&](Document& document) -> Result<void> {
    document.array.push_back({{"id", entry.id},
                              {"label", entry.label},
                              {"sha256", entry.digest.Hex()},
                              {"created_at", entry.created_at}});
    return {};
  });
  if (!updated) return Fail(updated.error());
  return CreatedKey{*std::move(key), std::move(entry)};
}

Result<void> RevokeKey(const std::string& path, std::string_view id) {
  return Update(path, [&](Document& document) -> Result<void> {
    for (std::size_t i = 0; i < document.entries.size(); ++i) {
      if (document.entries[i].id != id) continue;
      document.array.erase(i);
      return {};
    }
    return Fail(ErrorCode::kNotFound, "no key has the id " + std::string(id));
  });
}

}  // namespace forkbox::api
