import com.sun.source.tree.*;
import com.sun.source.util.*;
import java.io.*;
import java.nio.file.*;
import java.util.*;
import javax.tools.*;

/** Definitions of Java files by javac: paths on standard input, a line of JSON each on standard output. */
public class Places {
    public static void main(String[] arguments) throws Exception {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String path; (path = in.readLine()) != null; ) {
            DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
            StandardJavaFileManager files = compiler.getStandardFileManager(problems, null, null);
            JavacTask task = (JavacTask) compiler.getTask(
                Writer.nullWriter(), files, problems, List.of("-proc:none"), null, files.getJavaFileObjects(path));
            Iterator<? extends CompilationUnitTree> units = task.parse().iterator();
            if (!units.hasNext() || problems.getDiagnostics().stream().anyMatch(d -> d.getKind() == Diagnostic.Kind.ERROR))
                continue;
            CompilationUnitTree unit = units.next();
            SourcePositions places = Trees.instance(task).getSourcePositions();
            List<String> found = new ArrayList<>();
            new TreeScanner<Void, String>() {
                void add(String name, String kind, Tree node) {
                    long first = places.getStartPosition(unit, node), end = places.getEndPosition(unit, node);
                    if (first < 0 || end <= first) return; // a constructor that nobody wrote
                    long line = unit.getLineMap().getLineNumber(first), last = unit.getLineMap().getLineNumber(end - 1);
                    found.add("[\"" + name + "\",\"" + kind + "\"," + line + "," + line + "," + last + "]");
                }
                @Override public Void visitClass(ClassTree node, String around) {
                    String name = node.getSimpleName().toString();
                    if (!name.isEmpty()) add(name, "type", node);
                    return super.visitClass(node, name);
                }
                @Override public Void visitMethod(MethodTree node, String around) {
                    String name = node.getName().toString();
                    add(name.equals("<init>") ? around : name, "function", node);
                    return super.visitMethod(node, around);
                }
            }.scan(unit, "");
            System.out.println("{\"path\":\"" + path + "\",\"definitions\":[" + String.join(",", found) + "]}");
        }
    }
}
