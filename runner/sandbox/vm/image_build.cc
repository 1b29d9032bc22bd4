#include "runner/sandbox/vm/image_build.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/base_disk.h"
#include "runner/sandbox/vm/guest_files.h"
#include "runner/sandbox/vm/image_manifest.h"
#include "runner/sandbox/vm/initrd.h"
#include "runner/sandbox/vm/making_folder.h"
#include "runner/sandbox/vm/sha256.h"
#include "runner/sandbox/vm/tool.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// Of every file on the disk, and of the disk itself: as in scripts/vm-base.sh.
constexpr const char* kTime = "1700000000";
constexpr const char* kRuntimeDiskUuid = "66626f78-0000-4000-8000-000000000002";
constexpr const char* kForkserver = "forkbox-forkserver";

tl::unexpected<Error> Failed(const fs::path& path, const std::error_code& error) {
  return Fail(ErrorCode::kUnavailable, path.string() + ": " + error.message());
}

Result<std::string> ReadText(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return Fail(ErrorCode::kUnavailable, path.string() + ": cannot be read");
  return std::move(text).str();
}

Result<void> WriteText(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  std::error_code error;
  fs::permissions(path, fs::perms(0644), error);
  if (!file || error) return Fail(ErrorCode::kUnavailable, path.string() + ": cannot be written");
  return {};
}

Result<void> CopyProgram(const std::string& from, const fs::path& to, bool executable) {
  std::error_code error;
  fs::copy_file(from, to, error);
  if (error) return Failed(from, error);
  fs::permissions(to, fs::perms(executable ? 0755 : 0644), error);
  if (error) return Failed(to, error);
  return {};
}

// Times and owners are set by mkfs.erofs; modes are what they are, also of folders.
Result<void> MakeFolders(const fs::path& root, const fs::path& folder) {
  fs::path path = root;
  for (const fs::path& part : folder) {
    path /= part;
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST)
      return FailErrno("mkdir " + path.string());
    if (::chmod(path.c_str(), 0755) != 0) return FailErrno("chmod " + path.string());
  }
  return {};
}

Result<void> StageRuntime(const ImageBuildOptions& options, const fs::path& tree) {
  auto files = GuestFiles(options.runtime_dir);
  if (!files) return Fail(files.error());
  files->push_back(
      {.path = kForkserver, .source = options.forkserver, .link_target = {}, .executable = true});
  for (const GuestFile& file : *files) {
    if (auto made = MakeFolders(tree, fs::path(file.path).parent_path()); !made) return made;
    if (file.source.empty()) {
      std::error_code error;
      fs::create_symlink(file.link_target, tree / file.path, error);
      if (error) return Failed(tree / file.path, error);
    } else if (auto copied = CopyProgram(file.source, tree / file.path, file.executable); !copied) {
      return copied;
    }
    if (options.stopped()) return Fail(ErrorCode::kConflict, "stopped");
  }
  return {};
}

Result<void> MakeRuntimeDisk(const ImageBuildOptions& options, const std::string& runtime,
                             const std::string& folder) {
  const std::string tree = folder + "/.runtime";
  if (auto made = MakeFolders(folder, ".runtime"); !made) return made;
  if (auto staged = StageRuntime(options, tree); !staged) return staged;
  // Of what was copied: a build that went on meanwhile has changed it.
  auto copied = RuntimeHash(tree, {tree + "/" + kForkserver, options.agent});
  if (!copied) return Fail(copied.error());
  if (*copied != runtime) {
    return Fail(ErrorCode::kUnavailable, "the runtime was changed meanwhile; try again");
  }
  const std::string disk = folder + "/" + kRuntimeDisk;
  auto ran = RunTool({.command = {"mkfs.erofs", "--quiet", "-T", kTime, "-U", kRuntimeDiskUuid,
                                  "--all-root", disk, tree},
                      .stopped = options.stopped});
  if (!ran) return ran;
  std::error_code error;
  fs::permissions(disk, fs::perms(0644), error);
  if (!error) fs::remove_all(tree, error);
  if (error) return Failed(disk, error);
  return {};
}

Result<void> MakeInitrd(const ImageBuildOptions& options, const BaseDisk& base,
                        const std::string& folder) {
  InitrdContents contents;
  auto agent = ReadText(options.agent);
  if (!agent) return Fail(agent.error());
  contents.agent = std::move(*agent);
  for (const std::string& path : base.modules) {
    auto module = ReadText(path);
    if (!module) return Fail(module.error());
    contents.modules.emplace_back(fs::path(path).filename(), std::move(*module));
  }
  const fs::path packed = fs::path(folder) / kInitrdFile;
  const fs::path plain = fs::path(packed).replace_extension();
  if (auto written = WriteText(plain, EncodeInitrd(contents)); !written) return written;
  return RunTool({.command = {"gzip", "-n", "-9", plain}, .stopped = options.stopped});
}

// The base's files are never written to, so a second name is as good as a copy.
Result<void> LinkOrCopy(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_hard_link(from, to, error);
  if (error) fs::copy_file(from, to, error);
  if (error) return Failed(to, error);
  return {};
}

Result<ImageManifest> Describe(const BaseDisk& base, const std::string& runtime,
                               const std::string& folder) {
  ImageManifest manifest{.agent_version = kAgentVersion,
                         .base = base.recipe,
                         .kernel = base.kernel,
                         .runtime = runtime,
                         .files = {},
                         .packages = base.packages};
  for (const char* name : {kBaseDisk, kInitrdFile, kRuntimeDisk, kKernelFile}) {
    auto hash = HashFile(folder + "/" + name);
    if (!hash) return Fail(hash.error());
    manifest.files.push_back({name, hash->bytes, hash->sha256});
  }
  return manifest;
}

// The image that is there, if it is what would be built.
std::optional<VmImage> IsThere(const ImageBuildOptions& options, const std::string& recipe,
                               const std::string& runtime) {
  auto text = ReadText(options.output + "/" + kImageManifest);
  if (!text) return std::nullopt;
  auto manifest = ImageManifest::Parse(*text);
  if (!manifest || manifest->base != recipe) return std::nullopt;
  auto image = VmImage::Open(options.output, runtime);
  if (!image) return std::nullopt;
  return std::move(*image);
}

// A folder that is somebody else's is not replaced.
Result<void> CheckOutput(const std::string& output) {
  std::error_code error;
  const fs::path path = output;
  if (!fs::exists(fs::symlink_status(path, error))) return {};
  if (fs::is_directory(fs::symlink_status(path, error)) &&
      (fs::exists(path / kImageManifest, error) || fs::is_empty(path, error))) {
    return {};
  }
  return Fail(ErrorCode::kInvalidArgument, output + ": is there and is not an image");
}

}  // namespace

Result<ImageBuild> BuildImage(const ImageBuildOptions& options) {
  if (auto checked = CheckOutput(options.output); !checked) return Fail(checked.error());
  auto recipe = BaseDisk::Recipe(options.base_script);
  if (!recipe) return Fail(recipe.error());
  auto runtime = RuntimeHash(options.runtime_dir, {options.forkserver, options.agent});
  if (!runtime) return Fail(runtime.error());
  if (!options.fresh) {
    if (auto image = IsThere(options, *recipe, *runtime)) return ImageBuild{*image, true};
  }
  const auto on_wait = [&] { options.on_step("waiting for another build"); };
  // Both for the whole of it: what is linked must be what was found.
  auto cache_lock = FolderLock::Take(options.cache, on_wait, options.stopped);
  if (!cache_lock) return Fail(cache_lock.error());
  const std::string parent = fs::path(options.output).parent_path();
  std::error_code error;
  std::optional<Result<FolderLock>> output_lock;
  if (!fs::equivalent(parent, options.cache, error)) {
    output_lock = FolderLock::Take(parent, on_wait, options.stopped);
    if (!*output_lock) return Fail(output_lock->error());
  }
  if (!options.fresh) {  // somebody may have made it meanwhile
    if (auto image = IsThere(options, *recipe, *runtime)) return ImageBuild{*image, true};
  }
  auto base = options.fresh ? Result<BaseDisk>(Fail(ErrorCode::kNotFound, ""))
                            : BaseDisk::Find(options.cache, *recipe);
  if (!base) {
    base = BaseDisk::Make(options.cache, *recipe, options.base_script, options.on_step,
                          options.stopped);
  }
  if (!base) return Fail(base.error());
  auto making = MakingFolder::Begin(options.output);
  if (!making) return Fail(making.error());
  const std::string& folder = making->path();
  options.on_step("the runtime's disk");
  auto made = MakeRuntimeDisk(options, *runtime, folder);
  if (!made) return Fail(made.error());
  options.on_step("the initrd with the agent");
  if (made = MakeInitrd(options, *base, folder); !made) return Fail(made.error());
  for (const char* name : {kBaseDisk, kKernelFile}) {
    auto linked = LinkOrCopy(base->folder + "/" + name, folder + "/" + name);
    if (!linked) return Fail(linked.error());
  }
  options.on_step("hashes");
  auto manifest = Describe(*base, *runtime, folder);
  if (!manifest) return Fail(manifest.error());
  if (auto written = WriteText(folder + "/" + kImageManifest, manifest->Encode()); !written) {
    return Fail(written.error());
  }
  if (auto finished = making->Finish(); !finished) return Fail(finished.error());
  auto image = VmImage::Open(options.output, *runtime);
  if (!image) return Fail(image.error());
  return ImageBuild{std::move(*image), false};
}

}  // namespace forkbox::sandbox::vm
