// What the operations on files and directories promise (files.h), in real boxes.
#include <sys/stat.h>

#include <chrono>

#include "tests/execd/files_fixture.h"

namespace forkbox::execd::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Type = FileInfo::Type;

class FileOperations : public FilesInBox {};

TEST_F(FileOperations, InfoSaysWhatIsThere) {
  Run("mkdir dir; printf 12345 > file; chmod 640 file; ln -s file link; ln -s nowhere dangling; "
      "mkfifo fifo; chmod 1777 dir; touch -d '2020-02-03 04:05:06.123456789' file");
  struct Case {
    const char* path;
    const char* absolute;
    Type type;
    std::uint32_t mode;
  };
  for (const Case& c : {
           Case{"file", "/box/work/file", Type::kFile, 0640},
           Case{"/box/work/file", "/box/work/file", Type::kFile, 0640},
           Case{"/box//work/./dir/../file", "/box/work/file", Type::kFile, 0640},
           Case{"dir", "/box/work/dir", Type::kDirectory, 0777},
           Case{"dir/", "/box/work/dir", Type::kDirectory, 0777},
           Case{"link", "/box/work/link", Type::kSymlink, 0777},
           Case{"dangling", "/box/work/dangling", Type::kSymlink, 0777},
           Case{"fifo", "/box/work/fifo", Type::kOther, 0644},
           Case{"/dev/null", "/dev/null", Type::kOther, 0666},
           Case{"/../../..", "/", Type::kDirectory, 0755},
       }) {
    SCOPED_TRACE(c.path);
    const auto info = files_->Info(c.path);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->path, c.absolute);
    EXPECT_EQ(info->type, c.type);
    EXPECT_EQ(info->mode, c.mode);
  }
  const auto info = files_->Info("file");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size, 5U);
  EXPECT_EQ(info->modified_unix_ns, 1'580'702'706'123'456'789);
  EXPECT_GT(info->created_unix_ns, info->modified_unix_ns);
  EXPECT_EQ(info->owner, "sandbox");
  EXPECT_EQ(info->group, "sandbox");
  EXPECT_EQ(files_->Info("/usr")->owner, "root");

  EXPECT_REFUSED(files_->Info("nothing"), kNotFound, "no such file or directory");
  EXPECT_REFUSED(files_->Info("file/below"), kInternal, "not a directory");
  EXPECT_REFUSED(files_->Info(""), kInvalidArgument, "path");
}

TEST_F(FileOperations, RemovesFilesAndLinks) {
  Run("mkdir dir; touch file dir/f; ln -s file link; ln -s dir to-dir; ln -s nowhere dangling; "
      "mkfifo fifo");
  EXPECT_DONE(files_->Remove("link"));
  EXPECT_DONE(files_->Remove("file"));
  EXPECT_DONE(files_->Remove("file"));  // it is not there any more
  EXPECT_DONE(files_->Remove("dangling"));
  EXPECT_DONE(files_->Remove("fifo"));
  EXPECT_REFUSED(files_->Remove("dir"), kInternal, "path is a directory: /box/work/dir");
  EXPECT_REFUSED(files_->Remove("to-dir"), kInternal, "path is a directory: /box/work/to-dir");
  EXPECT_REFUSED(files_->Remove("dir/f/g"), kInternal, "not a directory");
  EXPECT_REFUSED(files_->Remove("/usr/bin/env"), kInternal, "read-only file system");
  EXPECT_EQ(Run("ls -A"), "dir\nto-dir\n");
}

TEST_F(FileOperations, SetsPermissions) {
  Run("touch file; mkdir dir; ln -s file link; ln -s nowhere dangling");
  EXPECT_DONE(files_->SetPermission("file", {.owner = "", .group = "", .mode = 0604}));
  EXPECT_EQ(Run("stat -c %a file"), "604\n");
  EXPECT_DONE(files_->SetPermission("link", {.owner = "sandbox", .group = "sandbox", .mode = 0}));
  EXPECT_DONE(files_->SetPermission("link", {.owner = "", .group = "", .mode = 04700}));
  EXPECT_EQ(Run("stat -c '%a %U %G' file"), "700 sandbox sandbox\n");
  EXPECT_DONE(files_->SetPermission("file", {}));

  EXPECT_REFUSED(files_->SetPermission("file", {.owner = "nobody-here", .group = "", .mode = 0600}),
                 kInternal, "unknown user nobody-here");
  EXPECT_REFUSED(files_->SetPermission("file", {.owner = "", .group = "0", .mode = 0}), kInternal,
                 "unknown group 0");
  EXPECT_REFUSED(files_->SetPermission("file", {.owner = "root", .group = "", .mode = 0}),
                 kInternal, "operation not permitted");
  EXPECT_REFUSED(files_->SetPermission("nothing", {}), kNotFound, "no such file");
  EXPECT_REFUSED(files_->SetPermission("dangling", {}), kNotFound, "no such file");
  EXPECT_REFUSED(files_->SetPermission("/usr", {.owner = "", .group = "", .mode = 0777}), kInternal,
                 "read-only file system");
  EXPECT_EQ(Run("stat -c %a file"), "700\n");
}

TEST_F(FileOperations, MovesAndMakesParents) {
  Run("echo 1 > a; mkdir d; echo 2 > d/e; ln -s nowhere dangling; ln -s d link; touch there");
  EXPECT_DONE(files_->Move("a", "x/y/z"));
  EXPECT_EQ(Run("cat x/y/z; stat -c %a x x/y"), "1\n755\n755\n");
  EXPECT_DONE(files_->Move("d", "/box/work/moved"));
  EXPECT_EQ(Run("cat moved/e"), "2\n");
  EXPECT_DONE(files_->Move("dangling", "still-dangling"));
  EXPECT_DONE(files_->Move("link", "renamed-link"));
  EXPECT_EQ(Run("readlink still-dangling renamed-link"), "nowhere\nd\n");

  EXPECT_REFUSED(files_->Move("a", "b"), kNotFound, "no such file or directory");
  EXPECT_REFUSED(files_->Move("there", "moved"), kConflict,
                 "destination path already exists: /box/work/moved");
  EXPECT_REFUSED(files_->Move("there", "still-dangling"), kConflict, "already exists");
  EXPECT_REFUSED(files_->Move("there", "there/below"), kConflict, "not a directory");
  EXPECT_REFUSED(files_->Move("moved", "moved/in/itself"), kInternal, "invalid argument");
  // Mounts of the one disk are one disk.
  EXPECT_DONE(files_->Move("there", "/tmp/there"));
  EXPECT_DONE(files_->Move("/tmp/there", "/workspace/deep/there"));
  EXPECT_REFUSED(files_->Move("moved", "/workspace/deep/there"), kConflict, "already exists");
  EXPECT_DONE(files_->Move("/workspace/deep/there", "/box/work/there"));
  EXPECT_REFUSED(files_->Move("there", "/usr/x"), kInternal, "cross-device");
  EXPECT_REFUSED(files_->Move("there", "/usr/x/y"), kInternal, "read-only file system");
  EXPECT_EQ(Run("ls there"), "there\n");
}

TEST_F(FileOperations, ListsInOrderDirectoriesBeforeTheirNeighbours) {
  Run("mkdir -p d/b/c/deep d/a d/b0; touch d/b/x d/b/c/y d/z d/B; ln -s b d/link; ln -s . d/loop");
  const std::string d = "/box/work/d";
  EXPECT_THAT(PathsOf(files_->List("d", 0)), IsEmpty());
  EXPECT_THAT(PathsOf(files_->List("d", 1)), ElementsAre(d + "/B", d + "/a", d + "/b", d + "/b0",
                                                         d + "/link", d + "/loop", d + "/z"));
  EXPECT_THAT(PathsOf(files_->List("/box/work/./d/", 2)),
              ElementsAre(d + "/B", d + "/a", d + "/b", d + "/b/c", d + "/b/x", d + "/b0",
                          d + "/link", d + "/loop", d + "/z"));
  EXPECT_EQ(PathsOf(files_->List("d", 100)).size(), 11U);
  EXPECT_THAT(PathsOf(files_->List("d/a", 3)), IsEmpty());
  EXPECT_THAT(PathsOf(files_->List("/", 1)), ::testing::Contains("/box"));

  EXPECT_REFUSED(files_->List("d/link", 1), kInvalidArgument,
                 "path is a symbolic link, refusing to traverse: /box/work/d/link");
  EXPECT_REFUSED(files_->List("d/z", 1), kInvalidArgument,
                 "path is not a directory: /box/work/d/z");
  EXPECT_REFUSED(files_->List("d/nothing", 1), kNotFound, "no such file or directory");
  Run("chmod 000 d/b");
  EXPECT_REFUSED(files_->List("d", 2), kInternal, "permission denied");
  EXPECT_EQ(PathsOf(files_->List("d", 1)).size(), 7U);
  Run("chmod 755 d/b");
}

TEST_F(FileOperations, SearchesForNames) {
  Run("mkdir -p s/sub/deep.txt s/empty; touch s/a.txt s/sub/b.txt s/sub/deep.txt/c.md s/.hidden; "
      "ln -s sub s/link.txt; mkfifo s/pipe; ln -s s to-s");
  const std::string s = "/box/work/s";
  const auto search = [&](const char* path, const char* pattern) {
    return PathsOf(files_->Search(path, pattern));
  };
  EXPECT_THAT(search("s", "*.txt"), ElementsAre(s + "/a.txt", s + "/link.txt", s + "/sub/b.txt"));
  EXPECT_THAT(search("s", "**/*.txt"),
              ElementsAre(s + "/a.txt", s + "/link.txt", s + "/sub/b.txt"));
  EXPECT_THAT(search("s", "**"),
              ElementsAre(s + "/.hidden", s + "/a.txt", s + "/link.txt", s + "/pipe",
                          s + "/sub/b.txt", s + "/sub/deep.txt/c.md"));
  EXPECT_THAT(search("s", "sub/*.txt"), IsEmpty());
  EXPECT_THAT(search("s", "deep.txt"), IsEmpty());  // a directory
  EXPECT_THAT(search("s", "{a,b}.t[!y]t"), ElementsAre(s + "/a.txt", s + "/sub/b.txt"));
  EXPECT_THAT(search("s", "!(a.txt)"), ::testing::SizeIs(5));
  EXPECT_EQ(files_->Search("s", "link.txt")->front().type, Type::kSymlink);
  // A root that is no directory is itself all there is.
  EXPECT_THAT(search("s/a.txt", "*.txt"), ElementsAre(s + "/a.txt"));
  EXPECT_THAT(search("s/a.txt", "*.md"), IsEmpty());
  EXPECT_THAT(search("to-s", "**"), ElementsAre("/box/work/to-s"));

  EXPECT_REFUSED(files_->Search("nothing", "*"), kNotFound, "no such file or directory");
  EXPECT_REFUSED(files_->Search("s", "a["), kInvalidArgument, "invalid pattern");
  EXPECT_REFUSED(files_->Search("s", std::string(5000, '*')), kInvalidArgument, "invalid pattern");
  Run("chmod 000 s/sub");
  EXPECT_REFUSED(files_->Search("s", "*"), kInternal, "permission denied");
  Run("chmod 755 s/sub");
}

TEST_F(FileOperations, ReplacesTextAtOnce) {
  Run("printf 'one two one' > f; chmod 640 f; ln -s f link; mkdir d; printf x > ro; chmod 444 ro; "
      "printf aaaa > runs; printf 'a\\0b\\377a' > binary; : > empty");
  EXPECT_EQ(files_->Replace({"f", "one", "three"}).value(), 2U);
  EXPECT_EQ(Run("cat f; stat -c ' %a' f"), "three two three 640\n");
  EXPECT_EQ(files_->Replace({"link", "three ", ""}).value(), 1U);
  EXPECT_EQ(Run("cat f; readlink link"), "two threef\n");
  EXPECT_EQ(files_->Replace({"f", "nothing", "x"}).value(), 0U);
  EXPECT_EQ(files_->Replace({"runs", "aa", "b"}).value(), 2U);
  EXPECT_EQ(Read("runs"), "bb");
  EXPECT_EQ(files_->Replace({"binary", std::string("\0b", 2), "-"}).value(), 1U);
  EXPECT_EQ(Read("binary"),
            "a-\xff"
            "a");
  EXPECT_EQ(files_->Replace({"empty", "a", "b"}).value(), 0U);

  EXPECT_REFUSED(files_->Replace({"f", "", "x"}), kInvalidArgument,
                 "old content must not be empty");
  EXPECT_REFUSED(files_->Replace({"nothing", "a", "b"}), kNotFound, "no such file");
  EXPECT_REFUSED(files_->Replace({"d", "a", "b"}), kInternal, "is a directory");
  EXPECT_REFUSED(files_->Replace({"ro", "x", "y"}), kInternal, "permission denied");
  EXPECT_REFUSED(files_->Replace({"/dev/zero", "a", "b"}), kInternal, "not a regular file");
  Run("truncate -s 67108865 large; truncate -s 1048576 m");
  EXPECT_REFUSED(files_->Replace({"large", "a", "b"}), kInvalidArgument, "at most 67108864");
  EXPECT_REFUSED(files_->Replace({"m", std::string(1, '\0'), std::string(65, 'x')}),
                 kInvalidArgument, "at most 67108864");
  EXPECT_EQ(files_->Replace({"m", std::string(1, '\0'), std::string(64, 'x')}).value(), 1048576U);
  EXPECT_EQ(files_->Info("m")->size, 64U << 20);
  EXPECT_EQ(Run("ls -A | grep -c forkbox || true"), "0\n");
}

TEST_F(FileOperations, MakesDirectories) {
  EXPECT_DONE(files_->MakeDirectory("a/b/c", {.owner = "", .group = "", .mode = 0700}));
  EXPECT_EQ(Run("stat -c %a a a/b a/b/c"), "755\n755\n700\n");
  EXPECT_DONE(files_->MakeDirectory("a/b", {.owner = "", .group = "", .mode = 0777}));
  EXPECT_EQ(Run("stat -c %a a/b"), "755\n");  // it was there
  Run("touch file; ln -s a link; ln -s nowhere dangling");
  EXPECT_DONE(files_->MakeDirectory("link/new", {}));
  EXPECT_DONE(files_->MakeDirectory("/", {}));
  EXPECT_REFUSED(files_->MakeDirectory("file", {}), kConflict, "not a directory");
  EXPECT_REFUSED(files_->MakeDirectory("file/below", {}), kConflict, "not a directory");
  EXPECT_REFUSED(files_->MakeDirectory("dangling", {}), kConflict, "file exists");
  EXPECT_REFUSED(files_->MakeDirectory("/usr/x", {}), kInternal, "read-only file system");
  EXPECT_REFUSED(files_->MakeDirectory("x", {.owner = "who", .group = "", .mode = 0}), kInternal,
                 "unknown user who");
}

TEST_F(FileOperations, RemovesTrees) {
  Run("mkdir -p t/a/b t/c ro/in; touch t/a/b/f t/x file other/f 2>/dev/null; ln -s ../ro t/link; "
      "ln -s t to-t; touch ro/keep");
  EXPECT_DONE(files_->RemoveTree("t"));
  EXPECT_DONE(files_->RemoveTree("file"));
  EXPECT_DONE(files_->RemoveTree("to-t"));
  EXPECT_DONE(files_->RemoveTree("nothing"));
  EXPECT_EQ(Run("ls -A . ro"), ".:\nro\n\nro:\nin\nkeep\n");
  Run("chmod 555 ro");
  EXPECT_REFUSED(files_->RemoveTree("ro"), kInternal, "permission denied");
  Run("chmod 755 ro; touch sub");
  EXPECT_REFUSED(files_->RemoveTree("sub/below"), kInternal, "not a directory");
  EXPECT_REFUSED(files_->RemoveTree("/usr/bin/env"), kInternal, "read-only file system");
  for (const char* path : {"/", "//", ".", "..", "sub/..", "/box/work/.", "./"}) {
    EXPECT_REFUSED(files_->RemoveTree(path), kInvalidArgument, "refusing to remove");
  }
  EXPECT_DONE(files_->Info("ro/keep"));
  // The work directory itself is one of ours; whatever was in it is gone.
  Run("touch more");
  (void)files_->RemoveTree("/box/work");
  EXPECT_REFUSED(files_->Info("more"), kNotFound, "no such file");
}

TEST_F(FileOperations, ChecksDirectories) {
  Run("mkdir d; ln -s d link; touch f; mkdir -m 000 shut; ln -s loop loop");
  EXPECT_DONE(files_->CheckDirectory("d"));
  EXPECT_DONE(files_->CheckDirectory("link"));
  EXPECT_DONE(files_->CheckDirectory("/"));
  EXPECT_REFUSED(files_->CheckDirectory("no"), kInvalidArgument,
                 "working directory does not exist: /box/work/no: no such file or directory");
  EXPECT_REFUSED(files_->CheckDirectory("f"), kInvalidArgument,
                 "working directory path is not a directory: /box/work/f");
  EXPECT_REFUSED(files_->CheckDirectory("loop"), kInvalidArgument,
                 "cannot resolve working directory \"/box/work/loop\"");
  EXPECT_REFUSED(files_->CheckDirectory("shut"), kInvalidArgument, "permission denied");
}

TEST_F(FileOperations, OpensRegularFilesOnly) {
  Run("printf hello > f; ln -s f link; mkdir d; mkfifo fifo; printf x > shut; chmod 000 shut; "
      "ln -s nowhere dangling; python3 -c \"import socket; "
      "socket.socket(socket.AF_UNIX).bind('sock')\"");
  EXPECT_EQ(Read("f"), "hello");
  EXPECT_EQ(Read("link"), "hello");
  EXPECT_EQ(files_->Open("d/../f")->path, "/box/work/d/../f");
  EXPECT_REFUSED(files_->Open("d"), kInternal, "is a directory");
  EXPECT_REFUSED(files_->Open("fifo"), kInternal, "not a regular file");
  EXPECT_REFUSED(files_->Open("sock"), kInternal, "not a regular file");
  EXPECT_REFUSED(files_->Open("/dev/zero"), kInternal, "not a regular file");
  EXPECT_REFUSED(files_->Open("shut"), kInternal, "permission denied");
  EXPECT_REFUSED(files_->Open("nothing"), kNotFound, "no such file");
  EXPECT_REFUSED(files_->Open("dangling"), kNotFound, "no such file");
  EXPECT_REFUSED(files_->Open("f/below"), kInternal, "not a directory");
  for (const char* of_the_kernel :
       {"/proc/version", "/proc/sys/kernel/hostname", "/proc/self/stat"}) {
    EXPECT_REFUSED(files_->Open(of_the_kernel), kInternal, "not a regular file");
  }
}

}  // namespace
}  // namespace forkbox::execd::testing
