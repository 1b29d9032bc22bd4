#include "runner/sandbox/artefact_cache.h"

#include <openssl/evp.h>

#include <array>

namespace forkbox::sandbox {
namespace {

// Of an entry beyond its texts.
constexpr std::uint64_t kEntryBytes = 512;

// An entry of more than this share of the cache is not worth all that it would drive out.
constexpr std::uint64_t kLargestShare = 16;

std::uint64_t SizeOf(const Compiled& compiled) {
  std::uint64_t bytes = kEntryBytes + compiled.output.size() + compiled.program.code.size();
  for (const schema::SourceFile& file : compiled.program.files) {
    bytes += file.path.size() + file.content.size() + sizeof file;
  }
  return bytes;
}

bool DecidedBySource(const Compiled& compiled) {
  return compiled.repeatable && (compiled.reason == schema::Reason::kExited ||
                                 compiled.reason == schema::Reason::kCompileFailed);
}

}  // namespace

std::shared_ptr<const Compiled> ArtefactCache::Get(const std::string& key,
                                                   const std::stop_token& cancelled,
                                                   const Make& make, bool* hit) {
  *hit = false;
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) break;
    if (found->second.compiled != nullptr) {
      *hit = true;
      ++stats_.hits;
      uses_.splice(uses_.begin(), uses_, found->second.use);
      return found->second.compiled;
    }
    // Somebody makes it. When that comes to nothing that can be shared, we are the next to try.
    const std::shared_ptr<Flight> flight = found->second.flight;
    changed_.wait(lock, cancelled, [&] { return flight->landed; });
    if (flight->compiled != nullptr) {
      *hit = true;
      ++stats_.hits;
      return flight->compiled;
    }
    if (cancelled.stop_requested()) return nullptr;
  }
  const std::shared_ptr<Flight> flight = entries_[key].flight;
  ++stats_.misses;
  lock.unlock();
  auto made = std::make_shared<const Compiled>(make());
  lock.lock();
  const auto mine = entries_.find(key);  // nobody else removes an entry that is being made
  const std::uint64_t bytes = SizeOf(*made) + key.size();
  if (DecidedBySource(*made) && bytes <= max_bytes_ / kLargestShare) {
    mine->second.bytes = bytes;
    Keep(key, &mine->second, made);
  } else {
    entries_.erase(mine);
  }
  flight->landed = true;
  // A failure of ours, too: all who waited trying again one after the other would take minutes.
  if (made->reason != schema::Reason::kCancelled) flight->compiled = made;
  changed_.notify_all();
  return made;
}

// mutex_ is held.
void ArtefactCache::Keep(const std::string& key, Entry* entry,
                         std::shared_ptr<const Compiled> compiled) {
  while (stats_.bytes + entry->bytes > max_bytes_ && !uses_.empty()) {
    const auto oldest = entries_.find(uses_.back());
    stats_.bytes -= oldest->second.bytes;
    --stats_.entries;
    entries_.erase(oldest);
    uses_.pop_back();
  }
  uses_.push_front(key);
  entry->use = uses_.begin();
  entry->compiled = std::move(compiled);
  stats_.bytes += entry->bytes;
  ++stats_.entries;
}

ArtefactCacheStats ArtefactCache::Stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::string ArtefactKey(std::string_view toolchain, const schema::Source& source) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> digest(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  if (digest == nullptr || EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) != 1) return {};
  bool good = true;
  // Each text after its length: no two lists of texts make the same bytes.
  const auto add = [&](std::string_view text) {
    const std::uint64_t size = text.size();
    good = good && EVP_DigestUpdate(digest.get(), &size, sizeof size) == 1 &&
           EVP_DigestUpdate(digest.get(), text.data(), text.size()) == 1;
  };
  add(toolchain);
  add(source.code);
  add(schema::ToString(source.entry));
  add(std::to_string(source.files.size()));
  for (const schema::SourceFile& file : source.files) {
    add(file.path);
    add(file.executable ? "x" : "");
    add(file.content);
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (!good || EVP_DigestFinal_ex(digest.get(), bytes.data(), &size) != 1) return {};
  return {reinterpret_cast<const char*>(bytes.data()), size};
}

}  // namespace forkbox::sandbox
