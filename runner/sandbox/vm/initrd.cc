#include "runner/sandbox/vm/initrd.h"

#include <sys/stat.h>

#include <cstdint>
#include <cstdio>
#include <string_view>

namespace forkbox::sandbox::vm {
namespace {

class Archive {
 public:
  void Add(std::string_view name, std::uint32_t mode, std::string_view content = {},
           std::uint32_t device_major = 0, std::uint32_t device_minor = 0) {
    // Magic, inode, mode, uid, gid, links, time, size, device, its own numbers, name, checksum.
    char header[6 + 13 * 8 + 1];
    std::snprintf(header, sizeof header,
                  "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++inode_, mode, 0U,
                  0U, 1U, 0U, static_cast<std::uint32_t>(content.size()), 0U, 0U, device_major,
                  device_minor, static_cast<std::uint32_t>(name.size() + 1), 0U);
    bytes_ += header;
    bytes_ += name;
    bytes_ += '\0';
    Pad();
    bytes_ += content;
    Pad();
  }

  std::string Finish() {
    Add("TRAILER!!!", 0);
    return std::move(bytes_);
  }

 private:
  void Pad() { bytes_.append((4 - bytes_.size() % 4) % 4, '\0'); }

  std::string bytes_;
  std::uint32_t inode_ = 0;
};

}  // namespace

std::string EncodeInitrd(const InitrdContents& contents) {
  Archive archive;
  for (const char* folder : {"dev", "disk", "lib", "lib/modules", "new-root", "proc", "sys"}) {
    archive.Add(folder, S_IFDIR | 0755);
  }
  // The kernel opens it for /init before that can mount anything.
  archive.Add("dev/console", S_IFCHR | 0600, {}, 5, 1);
  std::string list;
  for (const auto& [name, content] : contents.modules) {
    archive.Add("lib/modules/" + name, S_IFREG | 0644, content);
    list += name + "\n";
  }
  archive.Add("lib/modules/list", S_IFREG | 0644, list);
  archive.Add("init", S_IFREG | 0755, contents.agent);
  return archive.Finish();
}

}  // namespace forkbox::sandbox::vm
