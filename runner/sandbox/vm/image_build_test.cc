#include "runner/sandbox/vm/image_build.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <thread>

#include "runner/sandbox/vm/image_manifest.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::string& text, unsigned mode = 0644) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
  fs::permissions(path, fs::perms(mode));
}

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// In the place of Debian: counts how often it was asked.
constexpr const char* kScript = R"sh(set -eu
echo asked >>"$(dirname "$0")/asked"
echo packages
cd "$1"
mkdir modules
echo "of $(wc -l <"$(dirname "$0")/asked")" >base.erofs
echo kernel >vmlinuz
echo 6.1.0-1 >release
echo virtio >modules/virtio.ko
echo erofs >modules/erofs.ko
printf 'virtio.ko\nerofs.ko\n' >modules/list
echo python3 3.11 >packages
)sh";

class ImageBuildTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forkbox-image-build-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    options_ = Installed(folder_ / "here");
  }
  void TearDown() override { fs::remove_all(folder_); }

  // An installation of nothing in particular. Files are made in the order of the names, or not.
  static ImageBuildOptions Installed(const fs::path& base, bool backwards = false) {
    std::vector<std::pair<fs::path, unsigned>> files = {{"runtime/bash/session", 0755},
                                                        {"runtime/exec/exec_template", 0755},
                                                        {"runtime/manifests/bash.json", 0644},
                                                        {"runtime/manifests/go.json", 0644},
                                                        {"runtime/manifests/javascript.json", 0644},
                                                        {"runtime/manifests/python.json", 0644},
                                                        {"runtime/node-dist/bin/node", 0755},
                                                        {"runtime/python/template.py", 0644},
                                                        {"forkbox-forkserver", 0755},
                                                        {"forkbox-vm-agent", 0755}};
    if (backwards) std::reverse(files.begin(), files.end());
    for (const auto& [name, mode] : files) {
      Write(base / name, "what is in " + name.filename().string() + std::string(9000, '.'), mode);
    }
    fs::create_directories(base / "runtime/go");
    fs::create_symlink("/usr/lib/go-1.21/tool", base / "runtime/go/tool");
    Write(base / "script/vm-base.sh", kScript);
    ImageBuildOptions options;
    options.output = base / "image";
    options.cache = base / "cache";
    options.base_script = base / "script/vm-base.sh";
    options.runtime_dir = base / "runtime";
    options.forkserver = base / "forkbox-forkserver";
    options.agent = base / "forkbox-vm-agent";
    return options;
  }
  [[nodiscard]] long TimesAsked() const {
    const std::string asked = Read(folder_ / "here/script/asked");
    return std::count(asked.begin(), asked.end(), '\n');
  }
  // A file of the current image.
  [[nodiscard]] std::string Current(const std::string& file) const {
    return options_.output + "/current/" + file;
  }
  // What is in the folder of `path`, by name.
  static std::vector<std::string> Beside(const fs::path& path) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path.parent_path())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path folder_;
  ImageBuildOptions options_;
};

TEST_F(ImageBuildTest, AsksDebianOnceAndBuildsOnlyWhatChanged) {
  std::string steps;
  options_.on_step = [&](std::string_view step) { steps += std::string(step) + "; "; };
  const auto first = BuildImage(options_);
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_FALSE(first->was_there);
  EXPECT_EQ(first->image.kernel, "6.1.0-1");
  EXPECT_EQ(steps, "packages; the runtime's disk; the initrd with the agent; hashes; ");
  EXPECT_EQ(first->image.name, first->image.hash.substr(0, 12));
  const auto manifest = ImageManifest::Parse(Read(Current("image.json")));
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->packages.at("python3"), "3.11");

  steps.clear();
  const auto again = BuildImage(options_);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->was_there);
  EXPECT_EQ(again->image.hash, first->image.hash);
  EXPECT_EQ(steps, "");

  Write(options_.runtime_dir + "/python/template.py", "print('another build')");
  const auto other = BuildImage(options_);
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_FALSE(other->was_there);
  EXPECT_NE(other->image.hash, first->image.hash);
  EXPECT_EQ(TimesAsked(), 1);

  options_.fresh = true;
  const auto fresh = BuildImage(options_);
  ASSERT_TRUE(fresh) << fresh.error().message;
  EXPECT_EQ(TimesAsked(), 2);
  EXPECT_EQ(Read(Current("base.erofs")), "of 2\n");
  EXPECT_EQ(Beside(Current("x")),
            (std::vector<std::string>{"base.erofs", "image.json", "initrd.cpio.gz", "runtime.erofs",
                                      "vmlinuz"}));
}

TEST_F(ImageBuildTest, TheOneBeforeStaysForThoseWhoRunIt) {
  std::vector<std::string> names;
  for (const char* version : {"first", "second", "third", "second"}) {
    Write(options_.runtime_dir + "/python/template.py", version);
    const auto built = BuildImage(options_);
    ASSERT_TRUE(built) << built.error().message;
    const std::string name = built->image.name;
    std::set<std::string> expected = {"current", name};
    if (!names.empty()) expected.insert(names.back());
    const auto there = Beside(options_.output + "/x");
    EXPECT_EQ(std::set<std::string>(there.begin(), there.end()), expected) << version;
    for (const std::string& one : expected) {
      EXPECT_TRUE(VmImage::Open(options_.output + "/" + one, "")) << one;
    }
    EXPECT_EQ(VmImage::Current(options_.output), name);
    names.push_back(name);
  }
  EXPECT_EQ(names[1], names[3]);
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), 3U);
}

// As images were before there could be several.
TEST_F(ImageBuildTest, TakesThePlaceOfAnImageThatIsTheFolderItself) {
  const auto built = BuildImage(options_);
  ASSERT_TRUE(built) << built.error().message;
  const std::string name = built->image.name;
  for (const auto& file : fs::directory_iterator(options_.output + "/" + name)) {
    fs::rename(file.path(), fs::path(options_.output) / file.path().filename());
  }
  fs::remove(options_.output + "/" + name);
  fs::remove(options_.output + "/current");
  const auto alone = VmImage::Open(options_.output, "");
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_EQ(alone->name, "");
  EXPECT_EQ(alone->hash, built->image.hash);
  ASSERT_TRUE(BuildImage(options_));
  EXPECT_EQ(VmImage::Open(options_.output, "")->name, name);
  const auto there = Beside(options_.output + "/x");
  EXPECT_EQ(std::set<std::string>(there.begin(), there.end()),
            (std::set<std::string>{name, "current"}));
}

TEST_F(ImageBuildTest, KeepsTheBasesOfAFewRecipes) {
  for (int version = 0; version < 5; ++version) {
    Write(options_.base_script, kScript + std::string("# ") + std::to_string(version) + "\n");
    const auto built = BuildImage(options_);
    ASSERT_TRUE(built) << built.error().message;
    EXPECT_FALSE(built->was_there);
    EXPECT_EQ(TimesAsked(), version + 1);
    EXPECT_EQ(Beside(options_.cache + "/x").size(),
              std::min<std::size_t>(static_cast<std::size_t>(version) + 1, 3));
  }
  EXPECT_EQ(BuildImage(options_)->was_there, true);
}

// A cache may be any folder, and who builds is root.
TEST_F(ImageBuildTest, LeavesWhatOthersHaveInTheCache) {
  const fs::path cache = options_.cache;
  const std::string name(64, 'a');
  for (const fs::path& theirs : {cache / "letters", cache / std::string(64, 'x'),
                                 cache / (name + "0"), folder_ / "linked" / name}) {
    Write(theirs / "SHA256SUMS", "theirs");
    fs::last_write_time(theirs / "SHA256SUMS", fs::file_time_type());
  }
  fs::create_directory_symlink(folder_ / "linked" / name, cache / name);
  Write(cache / "notes", "theirs");
  for (int version = 0; version < 5; ++version) {
    Write(options_.base_script, kScript + std::string("# ") + std::to_string(version) + "\n");
    ASSERT_TRUE(BuildImage(options_));
  }
  EXPECT_EQ(Beside(cache / "x").size(), 3U + 5U);
  EXPECT_EQ(Read(folder_ / "linked" / name / "SHA256SUMS"), "theirs");
}

TEST_F(ImageBuildTest, LibraryAndCompilerOfGoAreOfOneVersion) {
  const struct {
    const char* library;
    const char* package;
    const char* says;  // "" when they fit
  } cases[] = {
      {"1.21.13", "1.21.13-1~bpo12+1", ""},
      {"1.21.8", "1.21.13-1~bpo12+1", "vm build --fresh"},
      {"1.21.13", "1.21.1-1", "vm build --fresh"},
      {"", "1.21.13-1", ""},
      {"1.21.13", "", ""},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.library) + " with " + c.package);
    fs::remove_all(folder_ / "here");
    ImageBuildOptions options = Installed(folder_ / "here");
    const std::string library = c.library;
    const std::string package = c.package;
    if (!library.empty()) {
      Write(options.runtime_dir + "/go/pkg/errors.a",
            "!<arch>\n__.PKGDEF       0           0     0     644     3499      `\n"
            "go object linux amd64 go" +
                library + " GOAMD64=v1 X:regabiwrappers\nbuild id \"\"\n");
    }
    if (!package.empty()) {
      Write(options.base_script, kScript + ("echo golang-1.21-go " + package) + " >>packages\n");
    }
    const auto built = BuildImage(options);
    EXPECT_EQ(built.has_value(), std::string(c.says).empty());
    if (!built) {
      EXPECT_NE(built.error().message.find(c.says), std::string::npos) << built.error().message;
    }
  }
}

TEST_F(ImageBuildTest, MendsWhatIsDamaged) {
  ASSERT_TRUE(BuildImage(options_));
  fs::remove(Current("initrd.cpio.gz"));
  const auto mended = BuildImage(options_);
  ASSERT_TRUE(mended) << mended.error().message;
  EXPECT_FALSE(mended->was_there);
  EXPECT_EQ(TimesAsked(), 1);
  // The base's files in image and cache are one: both are made anew.
  Write(Current("base.erofs"), "of a hand");
  const auto anew = BuildImage(options_);
  ASSERT_TRUE(anew) << anew.error().message;
  EXPECT_EQ(TimesAsked(), 2);
  EXPECT_EQ(Read(Current("base.erofs")), "of 2\n");
}

TEST_F(ImageBuildTest, GivesTheSameBytesFromTheSameFilesAnywhere) {
  const auto here = BuildImage(options_);
  ASSERT_TRUE(here) << here.error().message;
  const mode_t mask = ::umask(077);
  ImageBuildOptions elsewhere = Installed(folder_ / "quite/somewhere/else", true);
  for (const auto& entry : fs::recursive_directory_iterator(elsewhere.runtime_dir)) {
    if (!entry.is_symlink()) fs::last_write_time(entry.path(), fs::file_time_type());
  }
  const auto there = BuildImage(elsewhere);
  ::umask(mask);
  ASSERT_TRUE(there) << there.error().message;
  for (const char* name : {"runtime.erofs", "initrd.cpio.gz", "image.json"}) {
    EXPECT_TRUE(Read(here->image.folder + "/" + name) == Read(there->image.folder + "/" + name))
        << name;
  }
  EXPECT_EQ(here->image.hash, there->image.hash);
  struct stat status {};
  for (const std::string& folder : {elsewhere.output, there->image.folder}) {
    ASSERT_EQ(::stat(folder.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0755U) << folder;
  }
}

TEST_F(ImageBuildTest, SaysWhatFailedAndLeavesNothing) {
  const struct {
    const char* name;
    std::function<void(ImageBuildOptions&)> damage;
    const char* says;
  } cases[] = {
      {"no network",
       [](ImageBuildOptions& o) {
         Write(o.base_script, "echo packages; echo 'no way to http://mirror' >&2; exit 1");
       },
       "no way to http://mirror"},
      {"no runtime", [](ImageBuildOptions& o) { fs::remove_all(o.runtime_dir); },
       "exec/exec_template: missing"},
      {"no agent", [](ImageBuildOptions& o) { fs::remove(o.agent); }, "forkbox-vm-agent: No such"},
      {"no script", [](ImageBuildOptions& o) { fs::remove(o.base_script); }, "vm-base.sh: No such"},
      {"a script that makes nothing", [](ImageBuildOptions& o) { Write(o.base_script, "true"); },
       "has made no base.erofs"},
      {"a folder of somebody's",
       [](ImageBuildOptions& o) { Write(o.output + "/letters.txt", "dear"); }, "is not an image"},
      {"a file in its place", [](ImageBuildOptions& o) { Write(o.output, "x"); },
       "is not an image"},
      {"stopped", [](ImageBuildOptions& o) { o.stopped = [] { return true; }; }, "stopped"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    fs::remove_all(folder_ / "here");
    ImageBuildOptions options = Installed(folder_ / "here");
    c.damage(options);
    const bool was_there = fs::exists(options.output);
    const auto built = BuildImage(options);
    ASSERT_FALSE(built);
    EXPECT_NE(built.error().message.find(c.says), std::string::npos) << built.error().message;
    EXPECT_EQ(fs::exists(options.output), was_there);
    for (const std::string& name : Beside(options.output)) {
      EXPECT_EQ(name.find("making"), std::string::npos) << name;
    }
    fs::create_directories(options.cache);
    EXPECT_EQ(Beside(options.cache + "/x"), std::vector<std::string>());
  }
}

TEST_F(ImageBuildTest, IsWholeOrNotAtAllHoweverManyBuild) {
  // Half of them are killed somewhere on their way, the last of all is not.
  for (int i = 0; i < 8; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      Write(options_.runtime_dir + "/python/mine.py", std::to_string(i % 2));
      ::_exit(BuildImage(options_) ? 0 : 1);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(7 * i));
    if (i % 2 == 0) ::kill(child, SIGKILL);
  }
  while (::wait(nullptr) > 0) {
  }
  // Where all of those that were left found that the runtime changed meanwhile, there is none.
  if (!VmImage::Current(options_.output).empty()) {
    const auto image = VmImage::Open(options_.output, "");
    EXPECT_TRUE(image) << image.error().message;
  }
  const auto last = BuildImage(options_);
  ASSERT_TRUE(last) << last.error().message;
  // Only a build that makes something looks for what others have left.
  Write(options_.runtime_dir + "/python/mine.py", "last");
  const auto made = BuildImage(options_);
  ASSERT_TRUE(made);
  EXPECT_EQ(Beside(options_.output + "/x").size(), 3U);  // the link, it, and the one before
  EXPECT_EQ(Beside(options_.output),
            (std::vector<std::string>{"cache", "forkbox-forkserver", "forkbox-vm-agent", "image",
                                      "runtime", "script"}));
}

}  // namespace
}  // namespace forkbox::sandbox::vm
