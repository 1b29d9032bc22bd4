#include "runner/sandbox/vm/image_build.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/base_disk.h"
#include "runner/sandbox/vm/guest_files.h"
#include "runner/sandbox/vm/image_manifest.h"
#include "runner/sandbox/vm/initrd.h"
#include "runner/sandbox/vm/making_folder.h"
#include "runner/sandbox/vm/sha256.h"
#include "runner/sandbox/vm/text_file.h"
#include "runner/sandbox/vm/tool.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

// Of every file on the disk, and of the disk itself: as in scripts/vm-base.sh.
constexpr const char* kTime = "1700000000";
constexpr const char* kRuntimeDiskUuid = "66626f78-0000-4000-8000-000000000002";
constexpr const char* kForkserver = "forkbox-forkserver";
constexpr const char* kMaking = "image";  // see MakingFolder
constexpr const char* kNextCurrent = ".current.next";
constexpr const char* kImageFiles[] = {kImageManifest, kKernelFile, kInitrdFile, kBaseDisk,
                                       kRuntimeDisk};

tl::unexpected<Error> Failed(const fs::path& path, const std::error_code& error) {
  return Fail(ErrorCode::kUnavailable, path.string() + ": " + error.message());
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

// The current image, if it is what would be built.
std::optional<VmImage> IsThere(const ImageBuildOptions& options, const std::string& recipe,
                               const std::string& runtime) {
  const std::string current = VmImage::Current(options.output);
  auto text = ReadText(options.output + "/" + current + "/" + kImageManifest);
  if (current.empty() || !text) return std::nullopt;
  auto manifest = ImageManifest::Parse(*text);
  if (!manifest || manifest->base != recipe) return std::nullopt;
  auto image = VmImage::Open(options.output, runtime);
  if (!image) return std::nullopt;
  return std::move(*image);
}

// Of an image that was a folder by itself, as those once were.
bool IsImageFile(const std::string& name) {
  return std::ranges::find(kImageFiles, name) != std::end(kImageFiles);
}

// A folder that is somebody else's is not filled.
Result<void> CheckOutput(const std::string& output) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(output, error))) return {};
  bool ours = fs::is_directory(fs::symlink_status(output, error));
  for (fs::directory_iterator entry(output, error), end; ours && !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    ours = name == kCurrentImage || name == kNextCurrent || IsImageName(name) ||
           IsImageFile(name) || name.starts_with(std::string(".") + kMaking);
  }
  if (ours && !error) return {};
  return Fail(ErrorCode::kInvalidArgument, output + ": is there and is not an image");
}

// For whoever looks from now on.
Result<void> MakeCurrent(const std::string& output, const std::string& name) {
  const std::string before = VmImage::Current(output);
  const fs::path next = fs::path(output) / kNextCurrent;
  std::error_code error;
  fs::remove(next, error);
  fs::create_directory_symlink(name, next, error);
  if (!error) fs::rename(next, fs::path(output) / kCurrentImage, error);
  if (error) return Failed(next, error);
  if (auto synced = SyncFolder(output); !synced) return synced;
  for (const fs::directory_entry& entry : fs::directory_iterator(output, error)) {
    const std::string other = entry.path().filename();
    if (other == name || other == before) continue;
    std::error_code ignored;
    if (IsImageName(other) || IsImageFile(other)) fs::remove_all(entry.path(), ignored);
  }
  return {};
}

// In the folder of images; the result is in it under its name.
Result<void> MakeImage(const ImageBuildOptions& options, const BaseDisk& base,
                       const std::string& runtime) {
  auto making = MakingFolder::Begin(options.output, kMaking);
  if (!making) return Fail(making.error());
  const std::string& folder = making->path();
  options.on_step("the runtime's disk");
  auto made = MakeRuntimeDisk(options, runtime, folder);
  if (!made) return made;
  options.on_step("the initrd with the agent");
  if (made = MakeInitrd(options, base, folder); !made) return made;
  for (const char* name : {kBaseDisk, kKernelFile}) {
    made = LinkOrCopy(base.folder + "/" + name, folder + "/" + name);
    if (!made) return made;
  }
  options.on_step("hashes");
  auto manifest = Describe(base, runtime, folder);
  if (!manifest) return Fail(manifest.error());
  const std::string text = manifest->Encode();
  if (made = WriteText(folder + "/" + kImageManifest, text); !made) return made;
  const std::string name = Sha256Hex(text).substr(0, kImageNameDigits);
  const std::string place = options.output + "/" + name;
  // One that was there before is left alone: there may be machines of it.
  if (!VmImage::Open(place, runtime)) {
    if (made = making->Finish(place); !made) return made;
  }
  return MakeCurrent(options.output, name);
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
  if (auto same = base->CheckGo(options.runtime_dir); !same) return Fail(same.error());
  auto made = MakeFolders(parent, fs::path(options.output).filename());
  if (made) made = MakeImage(options, *base, *runtime);
  if (!made) {
    fs::remove(options.output, error);  // if there is nothing in it
    return Fail(made.error());
  }
  auto image = VmImage::Open(options.output, *runtime);
  if (!image) return Fail(image.error());
  return ImageBuild{std::move(*image), false};
}

}  // namespace forkbox::sandbox::vm
