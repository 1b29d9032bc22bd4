// forkbox vm build | show: the image that virtual machines boot.

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "base/clock.h"
#include "base/rfc3339.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/installation.h"
#include "cli/stop_signals.h"
#include "runner/sandbox/vm/image_build.h"
#include "runner/sandbox/vm/image_manifest.h"
#include "schema/json.h"

namespace forkbox::cli {

namespace {

namespace fs = std::filesystem;
namespace vm = sandbox::vm;

// What people ask an image for; `--json` has them all.
constexpr const char* kPackagesOfNote[] = {"python3", "python3-numpy", "golang-1.21-go", "bash",
                                           "libc6"};

// One line a step, which gets its seconds when the next begins.
class Steps {
 public:
  explicit Steps(bool quiet) : quiet_(quiet) {}
  ~Steps() { End(); }

  void Begin(std::string_view name) {
    End();
    if (quiet_) return;
    std::printf("vm build: %.*s", static_cast<int>(name.size()), name.data());
    std::fflush(stdout);
    began_ = std::chrono::steady_clock::now();
    open_ = true;
  }
  void End() {
    if (!open_) return;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
    std::printf("  %.1f s\n", took.count());
    open_ = false;
  }

 private:
  const bool quiet_;
  bool open_ = false;
  SteadyTime began_;
};

std::string Megabytes(std::uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

std::int64_t ModifiedUnixMs(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? std::int64_t{status.st_mtime} * 1000 : 0;
}

class VmCommand final : public Command {
 public:
  explicit VmCommand(CLI::App& program)
      : app_(program.add_subcommand("vm", "Make the image that virtual machines boot")) {
    app_->require_subcommand(1);
    build_ = app_->add_subcommand("build", "Make the image, or end at once if it is up to date");
    build_->add_option("--output", folder_, "The folder of images; by default the installation's");
    build_
        ->add_option("--cache", cache_,
                     "The folder where the disk with Debian's packages is kept for the next time")
        ->envname("FORKBOX_VM_CACHE");
    build_->add_flag("--fresh", fresh_, "With today's packages, even if a disk of them is kept");
    build_->add_flag("--quiet", quiet_, "Print nothing but what goes wrong");
    show_ = app_->add_subcommand("show", "Check the image and print what is in it");
    show_->add_option("--image", folder_, "The folder of images; by default the installation's");
    show_->add_flag("--json", json_, "As JSON");
    app_->footer(
        "\nA network and root are needed for the disk with Debian's packages only: the first "
        "time,\n"
        "and with --fresh. After an update of forkbox `vm build` takes seconds. A server that "
        "runs\n"
        "takes the new image by itself, if it was made for the same build of forkbox.\n"
        "FORKBOX_VM_MIRROR: a mirror of Debian, instead of the one that this machine uses.\n"
        "\nExamples:\n"
        "  forkbox vm build\n"
        "  forkbox vm build --fresh --output /srv/forkbox/vm-image\n"
        "  forkbox vm show --json\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    auto installation = Installation::Find();
    if (!installation) return Complain(kExitFailure, installation.error().message);
    return build_->parsed() ? Build(*installation) : Show(*installation);
  }

 private:
  int Build(const Installation& installation) {
    auto signals = StopSignals::Install();
    if (!signals) return Complain(kExitFailure, signals.error().message);
    const auto began = std::chrono::steady_clock::now();
    Steps steps(quiet_);
    std::error_code error;
    vm::ImageBuildOptions options;
    options.output = fs::absolute(folder_.empty() ? installation.vm_image_dir : folder_, error)
                         .lexically_normal();
    options.cache =
        fs::absolute(cache_.empty() ? installation.vm_cache_dir : cache_, error).lexically_normal();
    options.base_script = installation.vm_programs_dir + "/vm-base.sh";
    options.runtime_dir = installation.runtime_dir;
    options.forkserver = installation.forkserver;
    options.agent = installation.VmAgent();
    options.fresh = fresh_;
    options.on_step = [&](std::string_view name) { steps.Begin(name); };
    options.stopped = [&] {
      stopped_ = stopped_ || signals->Wait(std::chrono::milliseconds(0));
      return stopped_;
    };
    auto built = vm::BuildImage(options);
    steps.End();
    if (!built) return Complain(kExitFailure, "vm build: " + built.error().message);
    if (quiet_) return kExitOk;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::printf("vm build: %s %s  (image %.12s, kernel %s, %.1f s)\n", built->image.folder.c_str(),
                built->was_there ? "is up to date" : "is ready", built->image.hash.c_str(),
                built->image.kernel.c_str(), took.count());
    return kExitOk;
  }

  int Show(const Installation& installation) const {
    const std::string folder = folder_.empty() ? installation.vm_image_dir : folder_;
    auto runtime = installation.VmRuntimeHash();
    if (!runtime) return Complain(kExitFailure, runtime.error().message);
    auto image = vm::VmImage::Open(folder, *runtime);
    if (!image) return Complain(kExitFailure, image.error().message);
    std::ifstream file(image->folder + "/" + vm::kImageManifest);
    std::stringstream text;
    text << file.rdbuf();
    auto manifest = vm::ImageManifest::Parse(text.str());
    if (!manifest) return Complain(kExitFailure, manifest.error().message);
    const std::int64_t made = ModifiedUnixMs(image->folder + "/" + vm::kImageManifest);
    const std::int64_t packages_made = ModifiedUnixMs(image->folder + "/" + vm::kBaseDisk);
    if (json_) {
      nlohmann::json files = nlohmann::json::array();
      for (const auto& entry : manifest->files) {
        files.push_back({{"name", entry.name}, {"bytes", entry.bytes}, {"sha256", entry.sha256}});
      }
      std::printf("%s\n", schema::DumpJson({{"folder", image->folder},
                                            {"hash", image->hash},
                                            {"kernel", image->kernel},
                                            {"agent_version", image->agent_version},
                                            {"runtime", image->runtime},
                                            {"base", manifest->base},
                                            {"built_at", Rfc3339Seconds(made)},
                                            {"packages_built_at", Rfc3339Seconds(packages_made)},
                                            {"files", files},
                                            {"packages", manifest->packages}})
                              .c_str());
      return kExitOk;
    }
    std::printf("folder    %s\nimage     %s\nkernel    %s\nbuilt     %s\npackages  of %s\n",
                image->folder.c_str(), image->hash.c_str(), image->kernel.c_str(),
                Rfc3339Seconds(made).c_str(), Rfc3339Seconds(packages_made).c_str());
    std::size_t others = manifest->packages.size();
    for (const char* name : kPackagesOfNote) {
      const auto found = manifest->packages.find(name);
      if (found == manifest->packages.end()) continue;
      --others;
      std::printf("          %-16s %s\n", name, found->second.c_str());
    }
    std::printf("          and %zu more\nfiles\n", others);
    for (const auto& entry : manifest->files) {
      std::printf("          %-16s %s\n", entry.name.c_str(), Megabytes(entry.bytes).c_str());
    }
    return kExitOk;
  }

  CLI::App* const app_;
  CLI::App* build_ = nullptr;
  CLI::App* show_ = nullptr;
  std::string folder_;
  std::string cache_;
  bool fresh_ = false;
  bool quiet_ = false;
  bool json_ = false;
  bool stopped_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeVmCommand(CLI::App& program) {
  return std::make_unique<VmCommand>(program);
}

}  // namespace forkbox::cli
