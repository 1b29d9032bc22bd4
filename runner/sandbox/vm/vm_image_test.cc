#include "runner/sandbox/vm/vm_image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/image_manifest.h"
#include "runner/sandbox/vm/sha256.h"
#include "schema/json.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kFiles[] = {kBaseDisk, kInitrdFile, kRuntimeDisk, kKernelFile};

void Write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forkbox-vm-image-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

class VmImageTest : public Folder {
 protected:
  void SetUp() override {
    Folder::SetUp();
    Fill();
  }

  void Fill() const {
    ImageManifest manifest{.agent_version = kAgentVersion,
                           .base = std::string(64, 'b'),
                           .kernel = "6.1.0-1-cloud-amd64",
                           .runtime = std::string(64, 'a'),
                           .files = {},
                           .packages = {{"python3", "3.11.2-1+b1"}}};
    for (const char* name : kFiles) {
      const std::string text = std::string("contents of ") + name;
      Write(folder_ / name, text);
      manifest.files.push_back({name, text.size(), Sha256Hex(text)});
    }
    Write(folder_ / kImageManifest, manifest.Encode());
  }

  void Edit(const std::function<void(json&)>& edit) const {
    json document = schema::ParseJson(Read(folder_ / kImageManifest)).value();
    edit(document);
    Write(folder_ / kImageManifest, document.dump());
  }
};

TEST_F(VmImageTest, OpensWhatIsWhole) {
  for (const std::string& expected : {std::string(), std::string(64, 'a')}) {
    const auto image = VmImage::Open(folder_, expected);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->folder, folder_);
    EXPECT_EQ(image->kernel, "6.1.0-1-cloud-amd64");
    EXPECT_EQ(image->agent_version, kAgentVersion);
    EXPECT_EQ(image->runtime, std::string(64, 'a'));
    EXPECT_EQ(image->hash, Sha256Hex(Read(folder_ / kImageManifest)));
  }
}

TEST_F(VmImageTest, TheLinkSaysWhichOfSeveral) {
  const std::string hash = VmImage::Open(folder_, "").value().hash;
  const fs::path all = folder_ / "all";
  const std::string name = hash.substr(0, kImageNameDigits);
  for (const std::string& one : {name, std::string("0123456789ab")}) {
    fs::create_directories(all / one);
    for (const char* file : kFiles) fs::copy(folder_ / file, all / one);
    fs::copy(folder_ / kImageManifest, all / one);
  }
  const struct {
    std::string target;
    std::string says;  // "": it is taken
  } cases[] = {{name, ""},
               {"0123456789ab", "another one than its name says"},
               {"0123456789ac", "there is none"},
               {"..", "leads out of it"},
               {"../all/" + name, "leads out of it"},
               {(all / name).string(), "leads out of it"}};
  for (const auto& c : cases) {
    fs::remove(all / kCurrentImage);
    fs::create_directory_symlink(c.target, all / kCurrentImage);
    EXPECT_EQ(VmImage::Current(all), c.target);
    const auto image = VmImage::Open(all, "");
    ASSERT_EQ(image.has_value(), c.says.empty()) << c.target;
    if (!image) {
      EXPECT_NE(image.error().message.find(c.says), std::string::npos) << image.error().message;
      EXPECT_NE(image.error().message.find("forkbox vm build"), std::string::npos);
      continue;
    }
    EXPECT_EQ(image->folder, all / name);
    EXPECT_EQ(image->name, name);
    EXPECT_EQ(image->hash, hash);
  }
}

TEST_F(VmImageTest, IsAnotherOneWhenAnyFileIs) {
  const std::string before = VmImage::Open(folder_, "").value().hash;
  Write(folder_ / kBaseDisk, "other packages");
  Edit([](json& document) {
    document["files"][kBaseDisk] = {{"bytes", 14}, {"sha256", Sha256Hex("other packages")}};
  });
  const auto after = VmImage::Open(folder_, "");
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_NE(after->hash, before);
}

TEST_F(VmImageTest, RefusesWithWhatIsWrongAndWhatMendsIt) {
  struct Case {
    std::string name;
    std::function<void()> damage;
    std::string says;
  };
  const fs::path manifest = folder_ / kImageManifest;
  std::vector<Case> cases = {
      {"no folder", [&] { fs::remove_all(folder_); }, "there is none"},
      {"no manifest", [&] { fs::remove(manifest); }, "image.json is missing"},
      {"a folder for a manifest",
       [&] {
         fs::remove(manifest);
         fs::create_directory(manifest);
       },
       "image.json: not a regular file"},
      {"a pipe for a manifest",
       [&] {
         fs::remove(manifest);
         ASSERT_EQ(::mkfifo(manifest.c_str(), 0600), 0);
       },
       "image.json: not a regular file"},
      {"a huge manifest", [&] { fs::resize_file(manifest, kMaxManifestBytes + 1); },
       "image.json: more than"},
      {"an empty manifest", [&] { Write(manifest, ""); }, "image.json: unexpected end"},
      {"not JSON", [&] { Write(manifest, "{\"format\": 1"); }, "image.json: "},
      {"not an object", [&] { Write(manifest, "[1]"); }, "image.json: the file: must be"},
      {"nested for ever", [&] { Write(manifest, std::string(100'000, '[')); }, "nested deeper"},
      {"another format", [&] { Edit([](json& d) { d["format"] = 2; }); }, "format: must be 1"},
      {"an unknown member", [&] { Edit([](json& d) { d["extra"] = 1; }); }, "member that is not"},
      {"a version that is a text", [&] { Edit([](json& d) { d["agent_version"] = "1"; }); },
       "agent_version: must be"},
      {"a negative version", [&] { Edit([](json& d) { d["agent_version"] = -1; }); },
       "agent_version: must be"},
      {"another agent", [&] { Edit([](json& d) { d["agent_version"] = kAgentVersion + 1; }); },
       "its agent has version " + std::to_string(kAgentVersion + 1)},
      {"another build", [&] { Edit([](json& d) { d["runtime"] = std::string(64, 'c'); }); },
       "made of another build of forkbox"},
      {"a short hash", [&] { Edit([](json& d) { d["runtime"] = "abc"; }); }, "runtime: must be"},
      {"a kernel with a space", [&] { Edit([](json& d) { d["kernel"] = "6.1 x"; }); },
       "kernel: must be"},
      {"a file too many",
       [&] { Edit([](json& d) { d["files"]["../../etc/passwd"] = d["files"][kBaseDisk]; }); },
       "files: must be"},
      {"a file of another name",
       [&] {
         Edit([](json& d) {
           d["files"]["../x"] = d["files"][kBaseDisk];
           d["files"].erase(kBaseDisk);
         });
       },
       "files.base.erofs: must be"},
      {"a size that is none", [&] { Edit([](json& d) { d["files"][kBaseDisk]["bytes"] = -1; }); },
       "files.base.erofs.bytes: must be"},
      {"a hash that is none", [&] { Edit([](json& d) { d["files"][kBaseDisk]["sha256"] = 7; }); },
       "files.base.erofs.sha256: must be"},
      {"packages that are none", [&] { Edit([](json& d) {
                                         d["packages"] = {{"a", {1}}};
                                       }); },
       "packages: must be"},
  };
  for (const char* member :
       {"agent_version", "base", "files", "format", "kernel", "packages", "runtime"}) {
    cases.push_back({std::string("without ") + member,
                     [this, member] { Edit([&](json& d) { d.erase(member); }); },
                     std::string(member) + ": must be"});
  }
  for (const std::string name : kFiles) {
    const fs::path path = folder_ / name;
    cases.push_back({name + " missing", [=] { fs::remove(path); }, name + " is missing"});
    cases.push_back({name + " longer", [=] { Write(path, Read(path) + "!"); }, name + " has "});
    cases.push_back({name + " shorter", [=] { Write(path, "x"); }, name + " has 1 bytes"});
    cases.push_back({name + " changed",
                     [=] {
                       std::string text = Read(path);
                       text[0] ^= 1;
                       Write(path, text);
                     },
                     name + " is not the file that was built"});
    cases.push_back({name + " a link",
                     [=] {
                       fs::rename(path, path.string() + ".aside");
                       fs::create_symlink(path.string() + ".aside", path);
                     },
                     name + ": "});
  }
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    fs::remove_all(folder_);
    Fill();
    const std::string folder = folder_;
    c.damage();
    const auto image = VmImage::Open(folder, std::string(64, 'a'));
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().code, ErrorCode::kUnavailable);
    const std::string& message = image.error().message;
    EXPECT_NE(message.find(folder), std::string::npos) << message;
    EXPECT_NE(message.find(c.says), std::string::npos) << message;
    EXPECT_NE(message.find("forkbox vm build"), std::string::npos) << message;
  }
}

class RuntimeHashTest : public Folder {
 protected:
  // A runtime as small as one can be, and a program beside it.
  static void Fill(const fs::path& runtime) {
    Write(runtime / "exec/exec_template", "exec");
    fs::permissions(runtime / "exec/exec_template", fs::perms(0755));
    Write(runtime / "python/template.py", "print()");
    Write(runtime / "node-dist/bin/node", "node");
    fs::create_directories(runtime / "go");
    fs::create_symlink("/usr/lib/go/tool", runtime / "go/tool");
    for (const char* id : {"bash", "go", "javascript", "python"}) {
      Write(runtime / "manifests" / (std::string(id) + ".json"), id);
    }
    Write(runtime / "../forkserver", "serves");
  }
  static std::string Of(const fs::path& runtime) {
    const auto hash = RuntimeHash(runtime, {runtime.parent_path() / "forkserver"});
    return hash ? *hash : "error: " + hash.error().message;
  }
};

TEST_F(RuntimeHashTest, SaysTheSameOfTheSameFilesAnywhere) {
  Fill(folder_ / "a/runtime");
  const mode_t mask = ::umask(077);
  Fill(folder_ / "b/b/runtime");
  ::umask(mask);
  const fs::path other = folder_ / "b/b/runtime";
  const std::string hash = Of(folder_ / "a/runtime");
  EXPECT_EQ(hash.size(), 64U) << hash;
  EXPECT_EQ(hash, Of(other));
  // Not of the time, nor of what machines do not get.
  fs::last_write_time(other / "python/template.py", fs::file_time_type());
  Write(other / "java/javac.jsa", "no Java there");
  Write(other / "manifests/java.json", "no Java there");
  Write(other / "node-dist/include/node.h", "nothing is compiled there");
  Write(other / "python/__pycache__/template.pyc", "left behind");
  EXPECT_EQ(hash, Of(other));
}

TEST_F(RuntimeHashTest, SaysAnotherOfOtherFiles) {
  const struct {
    const char* name;
    std::function<void(const fs::path&)> change;
  } cases[] = {
      {"content", [](const fs::path& r) { Write(r / "python/template.py", "print(1)"); }},
      {"program", [](const fs::path& r) { Write(r / "../forkserver", "serves others"); }},
      {"one more", [](const fs::path& r) { Write(r / "python/more.py", ""); }},
      {"one less", [](const fs::path& r) { fs::remove(r / "python/template.py"); }},
      {"another name",
       [](const fs::path& r) { fs::rename(r / "python/template.py", r / "python/template2.py"); }},
      {"mode",
       [](const fs::path& r) { fs::permissions(r / "python/template.py", fs::perms(0755)); }},
      {"link",
       [](const fs::path& r) {
         fs::remove(r / "go/tool");
         fs::create_symlink("/usr/lib/go-2", r / "go/tool");
       }},
      {"a file for the link",
       [](const fs::path& r) {
         fs::remove(r / "go/tool");
         Write(r / "go/tool", "/usr/lib/go/tool");
       }},
  };
  std::vector<std::string> seen;
  Fill(folder_ / "runtime");
  seen.push_back(Of(folder_ / "runtime"));
  for (const auto& c : cases) {
    fs::remove_all(folder_ / "runtime");
    Fill(folder_ / "runtime");
    c.change(folder_ / "runtime");
    const std::string hash = Of(folder_ / "runtime");
    EXPECT_EQ(hash.size(), 64U) << c.name << ": " << hash;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), hash), 0) << c.name;
    seen.push_back(hash);
  }
}

TEST_F(RuntimeHashTest, NamesWhatIsMissing) {
  EXPECT_NE(Of(folder_ / "runtime").find("exec/exec_template"), std::string::npos);
  Fill(folder_ / "runtime");
  fs::remove(folder_ / "forkserver");
  EXPECT_NE(Of(folder_ / "runtime").find("forkserver"), std::string::npos);
}

}  // namespace
}  // namespace forkbox::sandbox::vm
