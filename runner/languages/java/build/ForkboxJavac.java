import com.sun.source.util.JavacTask;
import com.sun.source.util.TaskEvent;
import com.sun.source.util.TaskListener;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import javax.lang.model.element.Element;
import javax.lang.model.element.ElementKind;
import javax.lang.model.element.ExecutableElement;
import javax.lang.model.element.Modifier;
import javax.lang.model.element.TypeElement;
import javax.tools.ForwardingJavaFileObject;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/**
 * javac for a program whose first file may hold a public class of any name, as the source launcher
 * takes it: {@code ForkboxJavac FOLDER Main.java [more.java ...]}. Classes go into FOLDER, and the
 * name of the one to start into FOLDER/main.args, which java reads as @FOLDER/main.args.
 */
final class ForkboxJavac {
  /** A source file that does not mind what its public class is called. */
  private static final class AnyName extends ForwardingJavaFileObject<JavaFileObject> {
    AnyName(JavaFileObject file) {
      super(file);
    }

    @Override
    public boolean isNameCompatible(String simpleName, Kind kind) {
      return kind == Kind.SOURCE || super.isNameCompatible(simpleName, kind);
    }
  }

  private static boolean hasMain(TypeElement type) {
    for (Element member : type.getEnclosedElements()) {
      if (member.getKind() == ElementKind.METHOD
          && member.getSimpleName().contentEquals("main")
          && member.getModifiers().containsAll(Set.of(Modifier.PUBLIC, Modifier.STATIC))
          && ((ExecutableElement) member).getParameters().size() == 1) {
        return true;
      }
    }
    return false;
  }

  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    Files.createDirectories(folder);
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null);
    List<JavaFileObject> sources = new ArrayList<>();
    for (JavaFileObject file : manager.getJavaFileObjects(Arrays.copyOfRange(args, 1, args.length))) {
      sources.add(sources.isEmpty() ? new AnyName(file) : file);
    }
    PrintWriter out = new PrintWriter(System.err);
    JavacTask task =
        (JavacTask)
            compiler.getTask(
                out, manager, null, List.of("-proc:none", "-g:source,lines", "-d", args[0]), null, sources);
    List<String> mains = new ArrayList<>();
    List<String> classes = new ArrayList<>();
    task.addTaskListener(
        new TaskListener() {
          @Override
          public void finished(TaskEvent event) {
            TypeElement type = event.getTypeElement();
            if (event.getKind() != TaskEvent.Kind.ANALYZE
                || type == null
                || !event.getSourceFile().toUri().equals(sources.get(0).toUri())) {
              return;
            }
            classes.add(type.getQualifiedName().toString());
            if (hasMain(type)) mains.add(type.getQualifiedName().toString());
          }
        });
    boolean good = task.call();
    out.flush();
    if (!good) System.exit(1);
    if (classes.isEmpty()) {
      System.err.println(args[1] + ": error: there is no class in it");
      System.exit(1);
    }
    Files.writeString(folder.resolve("main.args"), mains.isEmpty() ? classes.get(0) : mains.get(0));
  }
}
