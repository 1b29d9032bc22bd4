#include "runner/sandbox/vm/vm_image.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/guest_files.h"
#include "runner/sandbox/vm/image_manifest.h"
#include "runner/sandbox/vm/sha256.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRemedy = "; make one with: forkbox vm build";

tl::unexpected<Error> Refuse(const std::string& folder, const std::string& why) {
  return Fail(ErrorCode::kUnavailable,
              "the virtual machines' image in " + folder + ": " + why + kRemedy);
}

// Of a message about a file: who reads it knows the folder already.
std::string WithoutFolder(const std::string& message, const std::string& folder) {
  return message.starts_with(folder + "/") ? message.substr(folder.size() + 1) : message;
}

Result<void> CheckFile(const std::string& folder, const ImageManifest::File& expected) {
  const std::string path = folder + "/" + expected.name;
  // Told by its size, the usual damage need not be read.
  std::error_code error;
  const std::uintmax_t bytes = fs::file_size(path, error);
  if (!error && fs::is_regular_file(fs::symlink_status(path, error)) && bytes != expected.bytes) {
    return Refuse(folder, expected.name + " has " + std::to_string(bytes) + " bytes instead of " +
                              std::to_string(expected.bytes));
  }
  auto hash = HashFile(path, expected.bytes);
  if (!hash) {
    return Refuse(folder, hash.error().code == ErrorCode::kNotFound
                              ? expected.name + " is missing"
                              : WithoutFolder(hash.error().message, folder));
  }
  if (hash->sha256 != expected.sha256) {
    return Refuse(folder, expected.name + " is not the file that was built (its hash differs)");
  }
  return {};
}

}  // namespace

bool IsImageName(std::string_view name) {
  return name.size() == kImageNameDigits &&
         name.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string VmImage::Current(const std::string& folder) {
  std::error_code error;
  return fs::read_symlink(fs::path(folder) / kCurrentImage, error);
}

Result<VmImage> VmImage::Open(const std::string& all, const std::string& runtime_hash) {
  const std::string name = Current(all);
  if (!name.empty() && !IsImageName(name)) {
    return Refuse(all, "its link to the current one leads out of it");
  }
  const std::string folder = name.empty() ? all : all + "/" + name;
  const std::string manifest_path = folder + "/" + kImageManifest;
  if (auto there = HashFile(manifest_path, kMaxManifestBytes); !there) {
    if (there.error().code != ErrorCode::kNotFound) {
      return Refuse(folder, WithoutFolder(there.error().message, folder));
    }
    std::error_code error;
    return Refuse(folder, fs::exists(folder, error) ? std::string(kImageManifest) + " is missing"
                                                    : "there is none");
  }
  std::ifstream stream(manifest_path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  auto manifest = ImageManifest::Parse(text);
  if (!manifest) {
    return Refuse(folder, std::string(kImageManifest) + ": " + manifest.error().message);
  }
  if (manifest->agent_version != kAgentVersion) {
    return Refuse(folder, "its agent has version " + std::to_string(manifest->agent_version) +
                              ", this forkbox takes " + std::to_string(kAgentVersion));
  }
  if (!runtime_hash.empty() && manifest->runtime != runtime_hash) {
    return Refuse(folder, "it was made of another build of forkbox");
  }
  const std::string hash = Sha256Hex(text);
  if (!hash.starts_with(name)) return Refuse(folder, "it is another one than its name says");
  for (const ImageManifest::File& file : manifest->files) {
    if (auto checked = CheckFile(folder, file); !checked) return Fail(checked.error());
  }
  VmImage image;
  image.folder = folder;
  image.name = name;
  image.hash = hash;
  image.kernel = manifest->kernel;
  image.agent_version = manifest->agent_version;
  image.runtime = manifest->runtime;
  return image;
}

Result<std::string> RuntimeHash(const std::string& runtime_dir,
                                const std::vector<std::string>& programs) {
  auto files = GuestFiles(runtime_dir);
  if (!files) return Fail(files.error());
  for (const std::string& program : programs) {
    files->push_back({.path = "/" + fs::path(program).filename().string(),
                      .source = program,
                      .link_target = {},
                      .executable = true});
  }
  Sha256 all;
  for (const GuestFile& file : *files) {
    std::string line = file.path;
    line += '\0';
    if (file.source.empty()) {
      line += "link " + file.link_target;
    } else {
      auto hash = HashFile(file.source);
      if (!hash) return Fail(ErrorCode::kUnavailable, hash.error().message);
      line += (file.executable ? "0755 " : "0644 ") + hash->sha256;
    }
    line += '\0';
    all.Add(line);
  }
  return all.Hex();
}

}  // namespace forkbox::sandbox::vm
